"""The documentation is true: the site builds, links resolve, command lines parse, Python examples run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

import prime_audit
from prime_audit import Run
from prime_audit.audit.signals import Signals
from prime_audit.commands.cli import cli
from prime_audit.plan.plan import make_plan
from prime_audit.plugins.loading import load_attack
from prime_audit.settings import SETTINGS
from tests.docs.examples import PAGES, ROOT, example, python_blocks

TESTED = {"first.py", "median.py", "halving.py", "short_items.py", "catalog.py"}
"""Examples that a test runs: here, in tests/runs/test_run_account.py, and in tests/studies/test_catalog.py."""


# -- the site ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_site_builds_strictly_and_loads_nothing(tmp_path: Path) -> None:
    for module in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(module)
    words = ("-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path))
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "<!-- generated:" not in text
        assert re.findall(r"""<(?:script|img|iframe|source)[^>]+src=["']?(?:https?:)?//[^>]*>""", text) == []
        assert re.findall(r"""<link[^>]+href=["']?(?:https?:)?//[^>]*>""", text) == []
    assert "Merge PEFT adapters" in (tmp_path / "reference/commands.html").read_text(encoding="utf-8")


def slug(heading: str) -> str:
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_relative_links_resolve(page: Path) -> None:
    """MkDocs checks links inside docs; this checks README and the other files beside it too."""
    links = re.findall(r"\]\((?!https?:)([^)\s]*)\)", page.read_text(encoding="utf-8"))
    for link in links:
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        if anchor and target.suffix == ".md" and target.name not in ("api.md",):
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), link


# -- command lines -----------------------------------------------------------------------------------------


def lines() -> Iterator[tuple[str, str]]:
    """Yield (page, command line) of every prime-audit command in a shell block."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"^ *```sh\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE):
            for line in block.replace("\\\n", " ").splitlines():
                for found in re.findall(r"(?:^|&& |\(|^\s*)(prime-audit .*?)(?= && |\)|$)", line):
                    yield page.relative_to(ROOT).as_posix(), found


def parse(words: list[str]) -> click.Context:
    """Parse as the command line does, without running anything."""
    command: click.Command = cli
    context = click.Context(cli, info_name="prime-audit")
    while isinstance(command, click.Group):
        name, child, words = command.resolve_command(context, words)
        assert child is not None
        command = child
        if isinstance(command, click.Group):
            context = click.Context(command, info_name=name, parent=context)
    return command.make_context(name, words, parent=context)


@pytest.mark.parametrize(("page", "line"), list(lines()))
def test_command_lines_parse(page: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prime_audit.plan.config.read_config", lambda _: {})
    context = parse(shlex.split(line, comments=True)[1:])
    if context.info_name not in ("compare", "plan") or context.params["plugins"]:
        return
    names = ("methods", "attacks", "games", "preset", "overrides", "against")
    given = {name: context.params[name] for name in names}
    make_plan(tasks=context.params["tasks"] or "LaMP-2", **given)  # every name and number is known


def test_commands_in_prose_exist() -> None:
    found = {
        line
        for page in PAGES
        for line in re.findall(r"(?<!`)`prime-audit ([a-z][^`]*)`(?!`)", page.read_text(encoding="utf-8"))
    }
    assert len(found) > 5
    for line in found:
        command: click.Command | None = cli
        for word in line.split():
            if not isinstance(command, click.Group):
                break
            command = command.get_command(click.Context(command), word)
        assert command is not None, line
        known = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
        assert {w.partition("=")[0] for w in line.split() if w.startswith("--")} <= known, line


def test_a_wrong_line_is_found() -> None:
    with pytest.raises(click.UsageError):
        parse(["compare", "--method", "prime"])


# -- settings ----------------------------------------------------------------------------------------------


def keys(table: dict[str, Any], before: str = "") -> Iterator[str]:
    for key, value in table.items():
        if key in ("extends", "purpose", "tasks", "all_tasks") and not before:
            continue
        yield from keys(value, f"{before}{key}.") if isinstance(value, dict) else [before + key]


def test_every_setting_has_a_meaning() -> None:
    presets = tomllib.loads((ROOT / "prime_audit/presets.toml").read_text(encoding="utf-8"))
    rows = [row for preset in presets.values() for row in (preset, preset.get("all_tasks", {}))]
    rows += [row for preset in presets.values() for row in preset.get("tasks", {}).values()]
    used = {key for row in rows for key in keys(row)}
    assert len(used) > 30
    assert used <= SETTINGS.keys()
    assert all(row.means.strip() for row in SETTINGS.values())


# -- examples ----------------------------------------------------------------------------------------------


def test_every_python_example_is_tested() -> None:
    assert sorted(title for title, _ in python_blocks()) == sorted(TESTED)


def test_the_attack_example_scores(tmp_path: Path) -> None:
    file = tmp_path / "median.py"
    file.write_text(example("median.py"), encoding="utf-8")
    signals = Signals(logprobs=[np.array([-1.0, -3.0, -9.0]), np.array([-0.5])])
    np.testing.assert_allclose(load_attack("median", [file]).score(signals), [-3.0, -0.5])


def test_the_game_example_is_played(quick: Callable[..., Run], tmp_path: Path) -> None:
    file = tmp_path / "short_items.py"
    file.write_text(example("short_items.py"), encoding="utf-8")
    run = quick("soup:k=2", games="heldout,short_items", plugins=[file], sets=["heldout=0.4"])
    played = {(leak.method, leak.game): leak for leak in run.record.leaks}
    short, all_items = (played["soup:k=2", game] for game in ("short_items", "heldout"))
    assert 0 < short.members <= all_items.members
    assert short.verdict


def test_the_quickstart_example_runs(
    quick: Callable[..., Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    small = partial(quick, games="paper")
    monkeypatch.setattr(
        prime_audit, "compare", lambda methods, *, tasks, out: small(methods, task=tasks, out=out)
    )
    exec(example("first.py"), {})
    printed = capsys.readouterr().out
    assert "prime:alpha=0.6+rag accuracy" in printed
    assert "prime:alpha=0.6+rag auc" in printed
