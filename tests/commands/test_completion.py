"""Completion in a shell: every name, nothing heavy imported."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete

from prime_audit.commands.cli import cli

HEAVY = ("torch", "transformers", "numpy", "scipy", "prime_audit.prime.prime")


def completed(*words: str) -> set[str]:
    shell = ShellComplete(cli, {}, "prime-audit", "_PRIME_AUDIT_COMPLETE")
    return {item.value for item in shell.get_completions(list(words[:-1]), words[-1])}


@pytest.mark.parametrize(
    ("words", "some"),
    [
        (("compare", "--methods", ""), {"np", "prime", "perpcs", "soup"}),
        (("compare", "--methods", "np,pr"), {"np,prime"}),
        (("compare", "--methods", "prime:alpha=0.6+r"), {"prime:alpha=0.6+rag"}),
        (("plan", "--attacks", "loss,min"), {"loss,mink", "loss,minkpp"}),
        (("compare", "--games", "paper,in"), {"paper,inclusion"}),
        (("compare", "--tasks", "LaMP-2,LaMP-4"), {"LaMP-2,LaMP-4"}),
        (("compare", "--preset", "p"), {"paper"}),
        (("compare", "--set", "cl"), {"clusters=", "clustered="}),
        (("plan", "--set", "clustered="), {"clustered=candidates", "clustered=eligible"}),
        (("study", "tradeoff", "--set", "LaMP-2.sampling=t"), {"LaMP-2.sampling=true"}),
        (("data", "check", ".", "--task", "LaMP-7"), {"LaMP-7"}),
        (("study", "tr"), {"tradeoff"}),
        (("describe", "per"), {"perpcs"}),
        (("doctor", "lo"), {"loss"}),
        (("examples", "own"), {"own_data", "own_method", "own_attack"}),
        (("exp",), {"export"}),
        (("completion", ""), {"bash", "zsh", "fish"}),
    ],
)
def test_names_complete(words: tuple[str, ...], some: set[str]) -> None:
    found = completed(*words)
    assert some <= found
    assert all(value.startswith(words[-1]) for value in found)


def test_auto_is_a_choice_of_preset_and_nothing_to_describe() -> None:
    assert "auto" in completed("compare", "--preset", "a")
    assert "auto" not in completed("describe", "a")


def test_a_setting_without_words_has_no_values() -> None:
    assert completed("compare", "--set", "clusters=") == set()
    assert completed("compare", "--set", "nothing=") == set()
    assert "LaMP-2.model=" not in completed("compare", "--set", "LaMP-2.")  # one model for all tasks


@pytest.mark.parametrize(
    ("words", "last"),
    [
        (["--set", "clustered", "=", "el"], "eligible"),
        (["--set", "clustered", "="], "candidates eligible"),
        (["--set", "=", "lora.dr"], "lora.dropout="),
        (["--methods", "prime", ":", "alpha", "=", "0.6+ra"], "0.6+rag 0.6+random"),
        (["--set", "clusters", "=", "3", "--strat"], ""),
        (["--set", "clusters", "=", "3", "--stri"], "--strict"),
    ],
)
def test_bash_gets_what_is_behind_its_last_break(
    tmp_path: Path, say: Callable[..., Any], words: list[str], last: str
) -> None:
    (tmp_path / "script").write_text(say("completion", "bash").out)
    shim = tmp_path / "prime-audit"
    code = "import sys; sys.argv = ['prime-audit']; from prime_audit.commands.cli import main; main()"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}"\n')
    shim.chmod(0o755)
    typed = shlex.join(["prime-audit", "compare", *words])
    run = (
        f"source {tmp_path}/script; compopt() {{ :; }}; COMP_WORDS=({typed}); COMP_CWORD={len(words) + 1};"
        f'_prime_audit_completion {shim}; echo "${{COMPREPLY[*]}}"'
    )
    done = subprocess.run(["bash", "-c", run], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == last, done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_the_shells(say: Callable[..., Any], shell: str) -> None:
    said = say("completion", shell)
    assert said.code == 0, said.err
    assert f"_PRIME_AUDIT_COMPLETE={shell}_complete" in said.out
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=said.out, text=True, check=False).returncode == 0


def test_it_imports_nothing_heavy() -> None:
    words = {"COMP_WORDS": "prime-audit compare --methods np,pr", "COMP_CWORD": "3"}
    code = (
        "import sys; sys.argv = ['prime-audit']\nfrom prime_audit.commands.cli import main\n"
        f"try: main()\nexcept SystemExit: pass\nprint(*[m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    env = {**os.environ, **words, "_PRIME_AUDIT_COMPLETE": "bash_complete"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["plain,np,prime"]
    assert done.stderr.split() == []
