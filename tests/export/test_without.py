"""``export --without``: the model of a community that the sharer never joined, and what it still reveals of them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prime_audit import Run
from prime_audit.errors import UserError
from prime_audit.export.export import export
from prime_audit.games.exam.stored import read_exam

TASK = "LaMP-4"
METHODS = "prime,perpcs,soup:k=3,ties:k=3,rag"
GONE = "bea"


@pytest.fixture(scope="session")
def runs(
    small_data: Any,
    small: Any,
    llama_folder: Path,
    given_once: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Run, Run, dict[str, Any]]:
    """One run with all given sharers, and one in which one of them never was; with the folders of the first."""
    from prime_audit import compare

    home = tmp_path_factory.mktemp("without")
    fewer = Path(shutil.copytree(given_once, home / "fewer"))
    shutil.rmtree(fewer / GONE)
    words: dict[str, Any] = {"tasks": TASK, "data": str(small_data(TASK)), "model": str(llama_folder)}
    words |= {"overrides": list(small), "games": "heldout", "attacks": "reference"}
    words |= {"cache": home / "cache", "quiet": True}
    whole = compare(METHODS, sharers=given_once, out=home / "whole", **words)
    never = compare(METHODS, sharers=fewer, out=home / "never", **words)
    return whole, never, {"cache": home / "cache", "sharers": given_once, "quiet": True}


def rows(run: Run) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run.path / "models.jsonl").read_text().splitlines()]
    return [row for row in found if "game" not in row]


def test_it_is_the_model_of_a_community_without_the_sharer(
    runs: tuple[Run, Run, dict[str, Any]], tmp_path: Path
) -> None:
    whole, never, where = runs
    changed = 0
    for n, method in enumerate(METHODS.split(",")[:-1]):
        target = rows(whole)[0]["target"]
        made = export(whole.path, target, method, tmp_path / f"{n}", without=GONE, **where)
        plain = export(whole.path, target, method, tmp_path / f"{n}-with", **where)
        fewer = {**where, "sharers": whole.path.parent / "fewer"}
        other = export(never.path, target, method, tmp_path / f"{n}-never", **fewer)
        one, two, old = (weights(e.path) for e in (made, other, plain))
        assert one == two, method  # bit for bit
        changed += one != old
        assert made.model.unlearnt is not None
        assert GONE not in made.model.row["sharers"]
        assert made.model.unlearnt.merged == (GONE in plain.model.row["sharers"])
    assert changed


def weights(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


def test_what_it_says_of_the_sharers_items(
    runs: tuple[Run, Run, dict[str, Any]], say: Callable[..., Any], tmp_path: Path
) -> None:
    """The gains are those of the stored signals: of the run's model, and of a run without the sharer."""
    whole, _, where = runs
    row = next(r for r in rows(whole) if r["method"] == "soup:k=3" and GONE in r["sharers"])
    words = ["--target", row["target"], "--method", "soup:k=3", "--without", GONE, "--out", tmp_path / "out"]
    said = say("export", whole.path, *words, "--cache", where["cache"], "--sharers", where["sharers"])
    assert said.code == 0, said.err
    exam = read_exam(whole.path, TASK)
    pool, base = exam.pools["sharers"], exam.base("sharers")
    assert base is not None
    one = next(p for p in exam.passes if (p.kind, p.method) == ("modules", "soup:k=3"))
    own = np.flatnonzero(pool.last & pool.of([GONE]))
    seen = one.seen[row["target"]]
    gain = np.mean([seen.logprobs[r].mean() - base.logprobs[r].mean() for r in own])
    line = next(x for x in said.out.splitlines() if "in the run's model" in x)
    assert f"gain over the base {gain:+.3f}" in line
    below, others = map(int, re.search(r"higher than for (\d+) of (\d+) sharers", line).groups())
    assert line.endswith(f"rank p = {(1 + others - below) / (1 + others):.3f}")
    assert f"cannot be below {1 / (1 + others):.3f}" in said.out
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "model-index" not in card  # the run measured another module
    assert "Made without sharer" in card
    assert f"{gain:+.3f}" in card
    assert "| rank p |" in card
    assert GONE not in card.partition("How to reproduce")[0]  # numbered, not named


REFUSED = {
    "nobody of that name": ("prime", "nobody", "unknown sharer of LaMP-4 'nobody'"),
    "merges nobody": ("rag", GONE, "np merges no sharers on LaMP-4"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_in_one_line(
    runs: tuple[Run, Run, dict[str, Any]], case: str, say: Callable[..., Any], tmp_path: Path
) -> None:
    whole, _, where = runs
    method, sharer, why = REFUSED[case]
    target = rows(whole)[0]["target"]
    words = ["--target", target, "--method", method, "--without", sharer, "--out", tmp_path / "no"]
    said = say("export", whole.path, *words, "--cache", where["cache"], "--sharers", where["sharers"])
    assert said.code == 2
    assert why in said.err
    assert not (tmp_path / "no").exists()


def test_a_method_that_needs_more_sharers_than_are_left(
    quick: Callable[..., Run], given: Path, tmp_path: Path
) -> None:
    run = quick("soup:k=4", sharers=given, cache=tmp_path / "cache", games="heldout")
    target, where = rows(run)[0]["target"], {"cache": tmp_path / "cache", "sharers": given, "quiet": True}
    with pytest.raises(UserError, match="4 sharers asked for, but the community has 3"):
        export(run.path, target, "soup:k=4", tmp_path / "no", without=GONE, **where)
    made = export(run.path, target, "soup:k=4", tmp_path / "with", **where)
    assert made.model.unlearnt is None


def test_adapters_that_the_run_trained_stay_as_they_are(quick: Callable[..., Run], tmp_path: Path) -> None:
    run = quick("soup:k=2", cache=tmp_path / "cache", games="heldout")
    row, community = rows(run)[-1], run.record.community[TASK]
    gone = row["sharers"][0]
    where = {"cache": tmp_path / "cache", "quiet": True}
    made = export(run.path, row["target"], "soup:k=2", tmp_path / "out", without=gone, **where)
    near = zip(community["similarity"][row["target"]], community["sharers"], strict=True)
    ranked = [s["user"] for _, s in sorted(near, key=lambda pair: -pair[0]) if s["user"] != gone]
    assert made.model.row["sharers"] == ranked[:2]
    assert made.model.row["weights"] == [0.5, 0.5]
    with_all = export(run.path, row["target"], "soup:k=2", tmp_path / "with", **where)
    assert weights(made.path) != weights(with_all.path)
    assert made.model.unlearnt is not None
    before, after = made.model.unlearnt.before, made.model.unlearnt.after
    assert before.gain is not None
    assert after.gain is not None
    assert after.gain != before.gain
    assert (
        before.others == after.others == len(community["sharers"]) - 3
    )  # it, and two in each, one of them in both
