"""The worked examples run as they are, copied out, with tiny settings."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prime_audit.errors import UserError
from prime_audit.examples import EXAMPLES, copy_out

HOME = Path(sys.modules["prime_audit.examples"].__file__ or "").parent


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[str], Any]:
    """Name → the example's module, from a copy elsewhere."""

    def load(name: str) -> Any:
        path = copy_out(name, tmp_path / "mine")
        spec = importlib.util.spec_from_file_location(f"example_{name}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def test_each_file_is_listed_and_says_how_to_run_it() -> None:
    files = {path.stem for path in HOME.glob("*.py")} - {"__init__"}
    assert files == set(EXAMPLES)
    for name in files:
        assert f"python {name}.py" in (HOME / f"{name}.py").read_text(encoding="utf-8")


def sets(small: tuple[str, ...]) -> list[str]:
    return [word for pair in small for word in ("--set", pair)]


def test_my_own_data(copied: Any, small: tuple[str, ...], llama_folder: Path, tmp_path: Path) -> None:
    words = ["--out", tmp_path / "out", "--model", llama_folder, "--set", "targets=2", *sets(small)]
    run = copied("own_data").main(list(map(str, words)))
    assert run.record.data[0].source == str(tmp_path / "out" / "LaMP-4")
    assert {leak.game for leak in run.record.leaks} >= {"paper", "heldout", "target"}
    assert (run.path / "index.html").is_file()


def test_my_own_method_and_attack(
    copied: Any, small: tuple[str, ...], small_data: Any, llama_folder: Path, tmp_path: Path, say: Any
) -> None:
    run = copied("own_method").main(
        data=str(small_data("LaMP-4")),
        model=str(llama_folder),
        overrides=list(small),
        out=tmp_path / "run",
        cache=None,
        quiet=True,
    )
    assert {"own_method", "own_method:sharpness=10"} <= set(run.record.methods)
    weights = [row for row in (run.path / "models.jsonl").read_text().splitlines() if '"own_method"' in row]
    assert len(weights) == 3
    found = copied("own_attack").main(str(run.path), quiet=True)
    assert {leak.attack for leak in found.record.leaks} == {"loss", "own_attack"}
    attack = tmp_path / "mine" / "own_attack.py"
    said = say("doctor", "own_attack", "--plugin", attack)
    assert said.code == 0, said.out


@pytest.mark.slow
def test_my_own_method_keeps_the_contract(say: Any, copied: Any, tmp_path: Path) -> None:
    copied("own_method")
    said = say("doctor", "own_method", "--plugin", tmp_path / "mine" / "own_method.py")
    assert said.code == 0, said.out


def test_a_gated_llama(
    copied: Any, small: tuple[str, ...], small_data: Any, llama_folder: Path, tmp_path: Path
) -> None:
    # Two recipes of the paper's preset count epochs and steps as `small` does; sampling stays the paper's.
    words = [
        *("--data", small_data("LaMP-4"), "--task", "LaMP-4", "--model", llama_folder),
        *("--encoder", "", "--profiler", "", "--methods", "np,prime", "--cache", tmp_path / "cache"),
        *("--out", tmp_path / "run", *sets(small)),
    ]
    module = copied("gated_llama")
    run = module.main(list(map(str, words)))
    assert run.record.spec["preset"] == "paper"
    assert run.record.spec["settings"]["LaMP-4"]["sampling"] is True
    assert module.main([*map(str, words), "--plan"]).seconds > 0
    with pytest.raises(UserError, match="no such model folder"):
        module.main(["--data", "world", "--task", "LaMP-4", "--model", "./none"])


def test_each_pattern_of_a_download_has_its_option() -> None:
    """``hf download`` takes a word without an option for a file's name, and then fetches nothing else."""
    import re
    import shlex

    text = (HOME / "gated_llama.py").read_text(encoding="utf-8")
    commands = [shlex.split(c) for c in re.findall(r"^ +(hf download .*)$", text, re.MULTILINE)]
    assert len(commands) > 1
    for words in commands:
        assert words[3::2] == ["--include"] * (len(words[3:]) // 2), words
        assert "*.safetensors" in words


def test_copying_out(say: Any, tmp_path: Path) -> None:
    assert "own_attack" in say("examples").out
    assert say("examples", "own_attack", "--out", tmp_path).code == 0
    again = say("examples", "own_attack", "--out", tmp_path)
    assert again.code == 2
    assert "exists already" in again.err
    assert "did you mean own_data" in say("examples", "own_dat").err
