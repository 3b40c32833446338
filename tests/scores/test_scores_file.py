"""Anyone's scores from a file: all figures, and one clear line for whatever cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from prime_audit.audit.mean_auc import TargetScores, two_way
from prime_audit.audit.permutation import holm
from prime_audit.errors import UserError
from prime_audit.scores.report import describe_scores


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def plain(tmp_path: Path, size: int = 120, shift: float = 2.0) -> Path:
    rng = np.random.default_rng(0)
    members = [i % 2 for i in range(size)]
    return write(
        tmp_path / "scores.csv",
        "score,member",
        *(f"{rng.normal() + shift * m},{('false', 'True')[m]}" for m in members),
    )


def panels(targets: int = 3, sharers: int = 8, each: int = 5) -> list[TargetScores]:
    rng = np.random.default_rng(1)
    owner = [f"s{i}" for i in range(sharers) for _ in range(each)]
    coins = [rng.permutation(np.arange(sharers) < sharers // 2) for _ in range(targets)]
    return [
        TargetScores(f"t{t}", rng.normal(size=len(owner)) + 2 * np.repeat(c, each), owner, np.repeat(c, each))
        for t, c in enumerate(coins)
    ]


def our_rows(games: list[TargetScores], attack: str, gain: float = 1.0) -> list[str]:
    return [
        json.dumps(
            {
                **{
                    "task": "LaMP-2",
                    "method": "prime",
                    "game": "paper",
                    "attack": attack,
                    "target": p.target,
                },
                **{"sharer": s, "item": f"{s}-{n}", "member": bool(m), "score": gain * float(x)},
            }
        )
        for p in games
        for n, (s, m, x) in enumerate(zip(p.sharers, p.members, p.scores, strict=True))
    ]


def test_scores_and_labels_are_enough(tmp_path: Path) -> None:
    report = describe_scores(plain(tmp_path), seed=0)
    (found,) = report.attacks
    assert (found.attack, found.n, found.members, found.over, found.trials) == (
        "score",
        120,
        60,
        "items",
        "item",
    )
    assert 0.85 < found.auc < 0.97
    assert found.ci is not None
    assert found.ci[0] < found.auc < found.ci[1]
    assert found.tpr["0.1"] is not None
    assert found.tpr["0.01"] is None
    assert "finer than 1 of 60" in found.reasons["TPR@1%"]
    assert found.p == found.p_holm == 1 / 1000
    assert found.epsilon is not None
    assert 0 < found.epsilon.value <= found.epsilon.ceiling
    assert found.both_classes is None
    assert any("the rows are taken as independent" in note for note in report.notes())
    assert len(report.rows()[0]) == len(report.headers())
    assert json.loads(report.to_json())["attacks"][0]["auc"] == found.auc


def test_a_runs_own_scores_give_the_runs_own_figure(tmp_path: Path) -> None:
    games = panels()
    path = write(tmp_path / "scores.jsonl", *our_rows(games, "loss"), *our_rows(games, "upside_down", -1.0))
    report = describe_scores(path, seed=7, draws=200)
    loss, turned = report.attacks
    expected = two_way([games], n=200, seed=7)
    assert loss.attack == "LaMP-2/prime/paper/loss"
    assert (loss.auc, loss.ci, loss.over) == (expected.value, expected.ci, "sharers and targets")
    assert (loss.unit, loss.trials, loss.sharers, loss.targets) == ("sharer", "sharer", 8, 3)
    assert turned.auc == pytest.approx(1 - loss.auc)
    assert turned.p == 1.0
    assert turned.p_reversed == loss.p == 1 / 200
    assert [loss.p_holm, turned.p_holm] == holm([1 / 200, 1.0])
    assert loss.both_classes == 0
    assert describe_scores(path, seed=7, draws=200) == report


def test_only_a_known_game_says_whether_members_were_drawn(tmp_path: Path) -> None:
    rows = [json.loads(row) | {"game": "picked"} for row in our_rows(panels(), "loss")]
    path = write(tmp_path / "scores.jsonl", *map(json.dumps, rows))
    unknown = describe_scores(path, draws=200)
    assert unknown.attacks[0].game is None
    assert any("ε holds only where membership was drawn" in note for note in unknown.notes())
    text = (
        '"""Picked."""\nfrom prime_audit.plugins import game\n'
        '@game(source="a test", says="x", unit="sharer", randomised=False)\ndef picked(audited, pool): ...'
    )
    known = describe_scores(path, draws=200, plugins=[write(tmp_path / "picked.py", text)])
    assert (known.attacks[0].game, known.attacks[0].epsilon) == ("picked", None)


def test_targets_without_sharers_are_one_person_each(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    lines = [f"t{t},{rng.normal()},{i % 2}" for t in range(5) for i in range(8)]
    (found,) = describe_scores(write(tmp_path / "s.csv", "target,score,member", *lines)).attacks
    assert (found.over, found.trials, found.targets) == ("targets", "target", 5)


def test_items_in_both_classes_are_counted(tmp_path: Path) -> None:
    lines = ["a,1,1", "a,2,0", "b,3,1", "c,4,0", "c,5,0", "d,0.5,1"]
    report = describe_scores(write(tmp_path / "s.csv", "item,score,member", *lines))
    assert report.attacks[0].both_classes == 1
    assert any("1 items are listed as member and as non-member" in note for note in report.notes())


def test_infinite_scores_are_scores_and_json_stays_json(tmp_path: Path) -> None:
    lines = ["-inf,0", "1,1", "inf,1", "inf,1", "inf,1", "-inf,0", "-inf,0", "-inf,0"]
    report = describe_scores(write(tmp_path / "s.csv", "score,member", *lines))
    assert report.attacks[0].auc == 1.0
    json.loads(report.to_json(), parse_constant=lambda word: pytest.fail(word))


BAD = [
    ("s.csv", ["value,member", "1,1"], "lacks score: it has value, member"),
    ("s.csv", ["a,b", "1,1"], "lacks score and member"),
    ("s.csv", ["score,member"], "holds no scores"),
    ("s.csv", [""], "lacks score and member: it has no columns"),
    (
        "s.csv",
        ["score,member", "1,1", "nan,0", "x,0", ",1"],
        r"line 3: the score is no number \(3 of 4 rows\)",
    ),
    ("s.csv", ["score,member", "1,1", "2,maybe"], "line 3: member is 'maybe'; give 1 or 0"),
    ("s.csv", ["score,member", "1,1", "2,1"], "score: all 2 items are members; an AUC needs both"),
    ("s.csv", ["score,member", "1,0"], "all 1 items are non-members"),
    ("s.csv", ["attack,score,member", "a,1,1", "a,2,0", "b,1,0"], "b: all 1 items are non-members"),
    ("s.csv", ["score,member,target", "1,1,x", "2,0,y"], "no target has both members and non-members"),
    ("s.csv", ["score,member,sharer", "1,1,x", "2,0,"], r"line 3: sharer is empty \(1 of 2 rows\)"),
    ("s.jsonl", ['{"score": 1}'], "line 1 lacks member: it has score"),
    ("s.jsonl", ['{"score": 1,'], "line 1: no JSON"),
    ("s.jsonl", ["[1, 2]"], "line 1: no JSON object"),
    ("s.jsonl", ['{"score": NaN, "member": true}'], "line 1: the score is no number"),
    ("s.jsonl", ['{"score": 1, "member": 2}'], "line 1: member is 2"),
]


@pytest.mark.parametrize(("name", "lines", "message"), BAD)
def test_bad_files_are_one_clear_line(tmp_path: Path, name: str, lines: list[str], message: str) -> None:
    path = write(tmp_path / name, *lines)
    with pytest.raises(UserError, match=message) as fault:
        describe_scores(path)
    assert str(path) in str(fault.value)
    assert "\n" not in str(fault.value)


def test_a_missing_file_and_one_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        describe_scores(tmp_path / "none.csv")
    (tmp_path / "s.csv").write_bytes(b"\xff\xfe\x00score")
    with pytest.raises(UserError, match="no text table"):
        describe_scores(tmp_path / "s.csv")
