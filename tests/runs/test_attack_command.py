"""``prime-audit attack``: the figures of a whole run from its stored signals, and no model unless one is needed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from prime_audit import Run, compare
from prime_audit.audit.auc import Undefined
from prime_audit.errors import UserError
from prime_audit.runs.rescore import attack

GAMES = "paper,heldout,inclusion,target"
MORE = "loss,minkpp,minkpp_ref,ez,rmia,recall,lowercase,samia"
"""Attacks that need every signal there is."""
METHODS = "oppu,prime,prime+rag"


@pytest.fixture(scope="module")
def make(
    small_data: Callable[[str], Path], small: Sequence[str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Run]:
    """Attacks → a run of three methods in all games, adapters cached."""
    import torch

    torch.set_num_threads(1)
    root, data = tmp_path_factory.mktemp("attacked"), str(small_data("LaMP-2"))

    def go(name: str, attacks: str) -> Run:
        words: dict[str, Any] = {"tasks": "LaMP-2", "data": data, "overrides": small, "games": GAMES}
        return compare(METHODS, **words, attacks=attacks, out=root / name, cache=root / "cache", quiet=True)

    return go


@pytest.fixture(scope="module")
def run(make: Callable[..., Run]) -> Run:
    return make("loss", "loss,zlib")


@pytest.fixture
def copy(run: Run, tmp_path: Path) -> Path:
    """Return a copy of the run, to alter."""
    return Path(shutil.copytree(run.path, tmp_path / "run"))


def leakage(run: Run) -> list[Any]:
    content = json.loads((run.path / "record.json").read_text(encoding="utf-8"))
    auc = [r for r in content["results"] if r["metric"].startswith("auc")]
    return [auc, content["leaks"], [c for c in content["comparisons"] if c["metric"].startswith("auc")]]


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def test_stored_signals_give_the_run_s_own_figures(run: Run, copy: Path) -> None:
    before = files(copy)
    again = attack(copy, "loss,zlib", quiet=True)
    assert leakage(again) == leakage(run)
    assert [r for r in again.record.results if r.game is None] == [
        r for r in run.record.results if r.game is None
    ]
    assert again.path.parent == copy
    assert again.path.name.startswith("attacks-")
    assert files(copy) == before
    assert list(again.scores()) == list(run.scores())
    assert again.record.spec["attacked"] == str(copy)
    assert "prime-audit attack" in again.record.command


def test_no_torch_where_the_signals_suffice(copy: Path) -> None:
    words = ["prime-audit", "attack", str(copy), "--details"]
    words += ["--attacks", "loss_mean,reference,lira_offline,user_level"]
    code = (
        f"import sys; sys.argv = {words!r}\n"
        "from prime_audit.commands.cli import main\nmain()\n"
        "print('loaded:', *[m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded:"
    assert "control panel" in done.stdout


def test_a_plugin_scores_stored_signals(copy: Path, tmp_path: Path) -> None:
    file = tmp_path / "longest.py"
    file.write_text(
        '"""Longest."""\nimport numpy as np\nfrom prime_audit.plugins import attack\n\n\n'
        '@attack(source="test", needs=("logprobs",))\ndef longest(signals):\n'
        '    """Count tokens."""\n    return np.array([float(len(r)) for r in signals.logprobs])\n',
        encoding="utf-8",
    )
    made = attack(copy, "longest", games="heldout", plugins=[file], out=tmp_path / "out", quiet=True)
    assert {leak.attack for leak in made.record.leaks} == {"longest"}
    assert {leak.game for leak in made.record.leaks} == {"heldout"}
    assert made.path == tmp_path / "out"


@pytest.mark.slow
def test_lacking_signals_are_observed_from_the_models_made_again(
    make: Callable[..., Run], run: Run, copy: Path
) -> None:
    before = files(copy)
    cache = run.path.parent / "cache"
    kept = set(cache.rglob("adapter_model.safetensors"))
    made = attack(copy, MORE, cache=cache, quiet=True)
    fresh = make("all", MORE)
    assert leakage(made) == leakage(fresh)
    assert sorted(made.record.warnings) == sorted(fresh.record.warnings)
    assert files(copy) == before
    assert set(cache.rglob("adapter_model.safetensors")) == kept  # nothing was trained again
    shutil.rmtree(made.path)
    again = attack(copy, MORE, cache=Path("/nonexistent"), quiet=True)  # all is stored by now
    assert leakage(again) == leakage(made)


def test_other_weights_are_refused(copy: Path) -> None:
    record = json.loads((copy / "record.json").read_text(encoding="utf-8"))
    record["model"]["sha256"] = "0" * 64
    (copy / "record.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(UserError, match="its weights have another sha256"):
        attack(copy, "minkpp", quiet=True)
    assert not list(copy.glob("attacks-*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"attacks": "los"}, "did you mean loss"),
        ({"attacks": ""}, "pass at least one"),
        ({"attacks": "loss", "games": "papper"}, "did you mean paper"),
    ],
)
def test_bad_input_is_one_line(copy: Path, words: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        attack(copy, **words, quiet=True)


def test_attacks_on_attacks_and_games_not_played_are_refused(copy: Path) -> None:
    made = attack(copy, "loss", games="paper", quiet=True)
    with pytest.raises(UserError, match="pass the folder of that run"):
        attack(made.path, "loss", quiet=True)
    record = json.loads((copy / "record.json").read_text(encoding="utf-8"))
    record["spec"]["games"] = ["paper"]
    (copy / "record.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(UserError, match=r"game heldout was not played.*prime-audit compare"):
        attack(copy, "loss", games="heldout", quiet=True)


def test_an_undefined_figure_is_not_blamed_on_the_signals(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def undefined(*_: object) -> None:
        raise Undefined("no such figure")

    monkeypatch.setattr("prime_audit.runs.rescore.rounds", undefined)
    with pytest.raises(UserError, match=r"no such figure$"):
        attack(copy, "loss", quiet=True)
