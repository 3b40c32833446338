"""Anyone's scores from a file: all figures, and one clear line for whatever cannot be used."""

from __future__ import annotations

import json
import lzma
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from prime_audit.audit.epsilon import one_run_epsilon
from prime_audit.audit.intervals import auc_interval
from prime_audit.audit.mean_auc import TargetScores
from prime_audit.audit.permutation import holm
from prime_audit.commands.stats import command
from prime_audit.errors import UserError
from prime_audit.scores.columns import COLUMNS
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
    assert (found.attack, found.n, found.members, found.over, found.finest) == (
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
    assert found.p == found.p_adjusted == 1 / 100_000
    assert found.relabellings == 99_999
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
    expected = auc_interval(games).estimate
    assert loss.attack == "LaMP-2/prime/paper/loss"
    assert (loss.auc, loss.ci, loss.over) == (expected.value, expected.ci, "sharers and targets")
    assert (loss.unit, loss.finest, loss.sharers, loss.targets) == ("sharer", "sharer", 8, 3)
    assert turned.auc == pytest.approx(1 - loss.auc)
    assert turned.p == 1.0
    assert turned.p_reversed == loss.p == 1 / 200
    assert [loss.p_adjusted, turned.p_adjusted] == [1 / 200, 1.0]
    assert loss.both_classes == 0
    assert describe_scores(path, seed=7, draws=200) == report


def test_only_a_known_game_says_whether_members_were_drawn(tmp_path: Path) -> None:
    rows = [json.loads(row) | {"game": "picked"} for row in our_rows(panels(targets=1), "loss")]
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


def held_out(tmp_path: Path, *columns: str, attacks: int = 1, targets: int = 1) -> Path:
    """Write scores of 20 sharers' items, four trained on and four not, that tell them apart."""
    rng = np.random.default_rng(5)
    rows = []
    for a in range(attacks):
        for t in range(targets):
            for s in range(20):
                for i, m in enumerate(
                    rng.permutation(np.arange(8) % 2) if "item" not in columns else [0, 1] * 4
                ):
                    row = {"attack": f"a{a}", "target": f"t{t}", "sharer": f"s{s}", "item": f"i{i}"}
                    values = [row[c] for c in columns]
                    rows.append(",".join([*values, f"{m + rng.random() / 2}", str(m)]))
    return write(tmp_path / "held.csv", ",".join([*columns, "score", "member"]), *rows)


def test_pairs_of_a_sharers_items_are_the_trials_of_epsilon_and_attacks_share_its_error(
    tmp_path: Path,
) -> None:
    one = describe_scores(held_out(tmp_path, "sharer"), draws=50)
    (found,) = one.attacks
    assert found.epsilon is not None
    assert found.epsilon.value == found.epsilon.ceiling == one_run_epsilon(80, 40, 40) / 2
    assert any("ε counts one trial for a pair of one sharer's items" in note for note in one.notes())
    many = describe_scores(held_out(tmp_path, "sharer", "attack", attacks=5), draws=50).attacks
    assert [a.epsilon.ceiling for a in many if a.epsilon] == [one_run_epsilon(80, 40, 40, alpha=0.01) / 2] * 5


def test_an_item_of_several_targets_is_one_trial_if_the_file_names_items(tmp_path: Path) -> None:
    named = describe_scores(held_out(tmp_path, "target", "sharer", "item", targets=3), draws=50).attacks[0]
    assert named.epsilon is not None
    assert named.epsilon.ceiling == one_run_epsilon(80, 40, 40) / 2
    unnamed = describe_scores(held_out(tmp_path, "target", "sharer", targets=3), draws=50).attacks[0]
    assert unnamed.epsilon is None
    assert "no column names the items" in unnamed.reasons["ε"]


@pytest.mark.parametrize("named", [True, False])
def test_items_that_targets_share_are_not_counted_once_a_target(tmp_path: Path, named: bool) -> None:
    """Without sharers, 20 targets list the same 20 items, which tell nothing."""
    rng, above = np.random.default_rng(8), 0
    for _ in range(40):
        scores, members = rng.normal(size=20), rng.permutation(np.arange(20) % 2)
        rows = [
            f"t{t},{scores[i]},{members[i]}" + (f",i{i}" if named else "")
            for t in range(20)
            for i in range(20)
        ]
        head = "target,score,member" + (",item" if named else "")
        (found,) = describe_scores(write(tmp_path / "s.csv", head, *rows), draws=20).attacks
        if named:
            assert found.epsilon is not None
            assert found.epsilon.ceiling == one_run_epsilon(10, 5, 5) / 2
            above += found.epsilon.value > 0
        else:
            assert found.epsilon is None
            assert "whether targets share items is not known" in found.reasons["ε"]
    assert above <= 6  # 5 %, and three standard deviations more


def test_ids_that_repeat_leave_no_epsilon(tmp_path: Path) -> None:
    lines = [f"s{s},i{i // 2},{i % 2}.{i},{i % 2}" for s in range(20) for i in range(8)]
    report = describe_scores(write(tmp_path / "s.csv", "sharer,item,score,member", *lines), draws=20)
    assert report.attacks[0].epsilon is None
    assert "80 rows repeat an item" in report.attacks[0].reasons["ε"]


def test_people_who_are_members_for_some_targets_have_no_epsilon_without_a_game(tmp_path: Path) -> None:
    rows = [f"t{t},s{s},{s},{int((s < 6) != (t == 0 and s in (5, 6)))}" for t in range(20) for s in range(12)]
    (found,) = describe_scores(write(tmp_path / "s.csv", "target,sharer,score,member", *rows)).attacks
    assert found.epsilon is None
    assert "2 people are members for one target and not for another" in found.reasons["ε"]


def test_targets_without_sharers_are_one_person_each(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    lines = [f"t{t},{rng.normal()},{i % 2}" for t in range(5) for i in range(8)]
    (found,) = describe_scores(write(tmp_path / "s.csv", "target,score,member", *lines)).attacks
    assert (found.over, found.finest, found.targets) == ("targets", "target", 5)


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
    ("s.csv", ["value,member", "1,1"], r"lacks score: it has value, member; .* --columns score=value"),
    ("s.csv", ["a,b", "1,1"], "lacks score and member: it has a, b, so it is no table of scores"),
    ("s.csv", ["score,member"], "holds no scores"),
    ("s.csv", [""], "lacks score and member: it has no columns"),
    (
        "s.csv",
        ["score,member", "1,1", "nan,0", "x,0", ",1"],
        r"line 3: score is not a number: 'nan' \(3 of 4 rows\)",
    ),
    ("s.csv", ["score,member", "1,1", "2,maybe"], "line 3: member is 'maybe'; give 1 or 0"),
    ("s.csv", ["score,member", "1,1", "2,1"], "score: all 2 items are members; an AUC needs both"),
    ("s.csv", ["score,member", "1,0"], "all 1 items are non-members"),
    ("s.csv", ["attack,score,member", "a,1,1", "a,2,0", "b,1,0"], "b: all 1 items are non-members"),
    ("s.csv", ["score,member,target", "1,1,x", "2,0,y"], "no target has both members and non-members"),
    ("s.csv", ["score,member,sharer", "1,1,x", "2,0,"], r"line 3: sharer is empty \(1 of 2 rows\)"),
    ("s.jsonl", ['{"score": 1}'], "lacks member: it has score"),
    ("s.jsonl", ['{"score": 1, "member": 1}', '{"score": 1}'], "line 2: member is None; give 1 or 0"),
    ("s.jsonl", ['{"score": 1,'], "line 1: .*JSON"),
    ("s.jsonl", ["[1, 2]"], "line 1: no JSON object"),
    ("s.jsonl", ['{"score": NaN, "member": true}'], "line 1: score is not a number: nan"),
    ("s.jsonl", ['{"score": 1, "member": 2}'], "line 1: member is 2"),
    ("s.jsonl", ['{"score": true, "member": 1}', '{"score": 0.2, "member": 0}'], "True .* is it the label"),
    ("s.csv", ["score,member", "True,1", "False,0"], "'True' .* is it the label"),
    ("s.csv", ["score,member", "1_0,1", "2,0"], r"not a number: '1_0' \(1 of 2 rows\)"),
    ("s.csv", ["score,member", "1,1", "2,0", "3,-1"], "line 4: member has both 0 and -1"),
    ("s.csv", ["score;member", "1,234;1", "2;0"], "'1,234' may be a thousand or a fraction"),
    ("s.csv", ["score;member", "0,5;1", "2.5;0"], r"not a number: '0,5' \(1 of 2 rows\)"),
    ("s.csv", ["loss,minkp,user,label", "1,2,a,1"], "--columns .*score=loss.minkp"),
    ("s.csv", ["score,member,sharer", "1,1,1.23E+18", "2,0,b"], "line 2: sharer .* has lost digits"),
    ("s.csv", ["score,member,member", "1,1,1"], "column 'member' appears twice; rename one"),
]


@pytest.mark.parametrize(("name", "lines", "message"), BAD)
def test_bad_files_are_one_clear_line(tmp_path: Path, name: str, lines: list[str], message: str) -> None:
    path = write(tmp_path / name, *lines)
    with pytest.raises(UserError, match=message) as fault:
        describe_scores(path)
    assert str(path) in str(fault.value)
    assert "\n" not in str(fault.value)


def test_a_missing_file_and_one_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        describe_scores(tmp_path / "none.csv")
    (tmp_path / "s.csv").write_bytes(b"\xff\xfe\x00score")
    with pytest.raises(UserError, match="UTF-16"):
        describe_scores(tmp_path / "s.csv")


ALIKE = (
    ("s.csv", "score,member,sharer\n{}", "{s},{m},{u}\n"),
    ("S.CSV", "score;member;sharer\n{}", "{c};{sign};{u}\n"),
    ("s.tsv", "score\tmember\tsharer\n{}", "{s}\t{word}\t{u}\n"),
    ("s.JSONL", "{}", '{{"score": {s}, "member": {m}.0, "sharer": {u}}}\n'),
    ("s.ndjson", "{}", '{{"score": "{s}", "member": "{m}", "sharer": {u}.0}}\n'),
)


def test_the_same_scores_in_any_form_give_the_same_figures(tmp_path: Path) -> None:
    """Formats, labels, decimal commas and ids: what spreadsheets and pandas make of one table."""
    rng = np.random.default_rng(3)
    rows = [(rng.normal() + u % 2, u % 2, u) for u in range(10) for _ in range(3)]
    rows[4] = (0.25, *rows[4][1:])
    found = []
    for name, whole, line in ALIKE:
        lines = [
            line.format(
                s=f"{s:.4f}",
                c=f"{s:.4f}".replace(".", ","),
                m=m,
                sign=2 * m - 1,
                word=("no", "Yes")[m],
                u=u,
            )
            for s, m, u in rows
        ]
        (tmp_path / name).write_text(whole.format("".join(lines)))
        found.append(describe_scores(tmp_path / name, draws=100).attacks)
    packed = tmp_path / "s.csv.xz"
    packed.write_bytes(lzma.compress((tmp_path / "s.csv").read_bytes()))
    found.append(describe_scores(packed, draws=100).attacks)
    assert found.count(found[0]) == len(found)
    assert (found[0][0].sharers, found[0][0].unit) == (10, "sharer")


def test_columns_are_named_and_what_looks_meant_is_not_taken_silently(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    rows = [(rng.normal(), i % 2, f"u{i // 4}") for i in range(40)]
    own = write(tmp_path / "a.csv", "score,member,owner", *(f"{s},{m},{u}" for s, m, u in rows))
    right = write(tmp_path / "b.csv", "score,member,sharer", *(f"{s},{m},{u}" for s, m, u in rows))
    other = write(tmp_path / "c.csv", "nll,in_train,owner", *(f"{-s},{m},{u}" for s, m, u in rows))
    silent, expected = describe_scores(own, draws=50), describe_scores(right, draws=50)
    assert silent.attacks[0].sharers is None
    (note,) = (n for n in silent.notes() if "owner" in n)
    assert note.endswith("pass --columns sharer=owner")
    assert describe_scores(own, draws=50, columns="sharer=owner").attacks == expected.attacks
    named = describe_scores(other, draws=50, columns="score=-nll,member=in_train,sharer=owner")
    assert named.attacks == (replace(expected.attacks[0], attack="-nll"),)
    assert not any("--columns" in note for note in named.notes())
    for words, message in (
        ("score=x", "no column x"),
        ("who=owner", "unknown role"),
        ("score", "ROLE=COLUMN"),
    ):
        with pytest.raises(UserError, match=message):
            describe_scores(own, columns=words)


def test_a_column_for_each_attack(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    rows = [(rng.normal() + i % 2, rng.normal(), i % 2) for i in range(60)]
    wide = write(tmp_path / "w.csv", "loss,zlib,member", *(f"{-a},{b},{m}" for a, b, m in rows))
    lines = [f"loss,{a},{m}" for a, _, m in rows] + [f"zlib,{b},{m}" for _, b, m in rows]
    long = write(tmp_path / "l.csv", "attack,score,member", *lines)
    found = describe_scores(wide, draws=100, columns="score=-loss+zlib")
    expected = describe_scores(long, draws=100).attacks
    assert found.attacks == (replace(expected[0], attack="-loss"), expected[1])
    assert [f.attack for f in describe_scores(wide, draws=50, columns="score=zlib").attacks] == ["zlib"]
    for words, message in {
        "score=loss+": "lacks a column beside",
        "score=loss+-": "lacks a column beside",
        "score=loss+-loss": "score names loss twice",
        "score=loss+member": "name the column of member too",
        "score=loss+member,member=member": "member is named for score and member",
    }.items():
        with pytest.raises(UserError, match=message):
            describe_scores(wide, columns=words)
    both = write(tmp_path / "b.csv", "attack,loss,zlib,member", *(f"x,{a},{b},{m}" for a, b, m in rows))
    with pytest.raises(UserError, match="there is a column attack too"):
        describe_scores(both, columns="score=loss+zlib")


def test_methods_and_attacks_of_a_task_and_game_are_one_family(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    lines = [
        f"{task},{method},{rng.normal() + 0.3 * (i % 2)},{i % 2}"
        for task, method in (("A", "x"), ("A", "y"), ("A", "z"), ("B", "x"))
        for i in range(80)
    ]
    report = describe_scores(write(tmp_path / "s.csv", "task,method,score,member", *lines), draws=200)
    p = [f.p for f in report.attacks if f.p is not None]
    adjusted = [f.p_adjusted for f in report.attacks if f.p_adjusted is not None]
    assert adjusted[3] == p[3]  # alone in its task
    assert all(plain <= found for plain, found in zip(p, adjusted, strict=True))
    assert any("over the 3 attacks and methods of A together" in note for note in report.notes())


def test_attacks_of_other_rows_are_corrected_by_holm_unless_items_have_ids(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    rows = [(a, f"i{i}", rng.normal(), i % 2) for a, n in (("x", 60), ("y", 50)) for i in range(n)]
    lines = [f"{a},{score},{m}" for a, _, score, m in rows]
    report = describe_scores(write(tmp_path / "s.csv", "attack,score,member", *lines), draws=200)
    p = [f.p for f in report.attacks if f.p is not None]
    assert [f.p_adjusted for f in report.attacks] == holm(p)
    assert any("is Holm's" in note for note in report.notes())
    named = [f"{a},{i},{score},{m}" for a, i, score, m in rows]
    report = describe_scores(write(tmp_path / "n.csv", "attack,item,score,member", *named), draws=200)
    assert not any("is Holm's" in note for note in report.notes())


def test_targets_that_list_unequal_items_need_ids(tmp_path: Path) -> None:
    """Without ids relabellings cannot be shared, and one a target rejects too often: there is no p."""
    rng = np.random.default_rng(7)
    lines = [
        f"t{t},s{s},i{i},{rng.normal()},{i % 2}" for t in range(3) for s in range(6) for i in range(t, 8)
    ]
    named = describe_scores(write(tmp_path / "n.csv", "target,sharer,item,score,member", *lines), draws=50)
    assert named.attacks[0].p is not None
    bare = [line.replace(line.split(",")[2] + ",", "", 1) for line in lines]
    found = describe_scores(write(tmp_path / "b.csv", "target,sharer,score,member", *bare), draws=50).attacks[
        0
    ]
    assert found.p is None
    assert "the items have no ids" in found.reasons["p"]


def test_a_wrong_sign_is_pointed_out(tmp_path: Path) -> None:
    turned = describe_scores(plain(tmp_path, shift=-2.0), draws=200)
    (note,) = (n for n in turned.notes() if "below ½ beyond chance" in n)
    assert "turn the sign: --columns score=-score." in note
    for words, name, hint in (
        ("score=-loss,member=y", "-loss", "remove the minus: --columns score=loss,member=y."),
        ("score=zlib+loss,member=y", "zlib", "turn the sign: --columns score=-zlib+loss,member=y."),
    ):
        rng = np.random.default_rng(7)
        rows = [(rng.normal() + 2 * (i % 2), i % 2) for i in range(60)]
        wide = write(tmp_path / "w.csv", "loss,zlib,y", *(f"{a},{-a},{m}" for a, m in rows))
        (note,) = (n for n in describe_scores(wide, draws=200, columns=words).notes() if "below ½" in n)
        assert note.startswith(f"{name}: ")
        assert hint in note
    lines = [f"{attack},{a if attack else -a},{m}" for attack in range(2) for a, m in rows]
    long = write(tmp_path / "l.csv", "attack,score,member", *lines)
    (note,) = (n for n in describe_scores(long, draws=200).notes() if "below ½" in n)
    assert "negate the scores of this attack in the file" in note
    right = describe_scores(plain(tmp_path), draws=200)
    assert not any("below ½" in note for note in right.notes())


def test_a_wrong_sign_is_tested_over_the_family(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    lines = [f"{attack},{rng.normal() - 0.45 * (i % 2)},{i % 2}" for attack in range(20) for i in range(60)]
    report = describe_scores(write(tmp_path / "s.csv", "attack,score,member", *lines), draws=200)
    reversed_ = [f.p_reversed for f in report.attacks if f.p_reversed is not None]
    adjusted = [f.p_reversed_adjusted for f in report.attacks if f.p_reversed_adjusted is not None]
    named = sum("below ½" in note for note in report.notes())
    assert named == sum(p <= 0.05 for p in adjusted) < sum(p <= 0.05 for p in reversed_)


def test_what_the_ids_do_not_say_is_reported(tmp_path: Path) -> None:
    """Rows given twice, ids that a spreadsheet made dates, an empty column, two columns of people."""
    rows = [f"t{i % 2},u{i // 4},i{i},{(i * 7) % 40},{(i // 2) % 2}" for i in range(40)]
    once = write(tmp_path / "a.csv", "target,sharer,item,score,member", *rows)
    assert describe_scores(once, draws=50).attacks[0].repeated == 0
    twice = write(tmp_path / "b.csv", "target,sharer,item,score,member", *rows, *rows[:10])
    report = describe_scores(twice, draws=50)
    assert report.attacks[0].repeated == 10
    assert any("score: 10 of 50 rows repeat an earlier row" in note for note in report.notes())
    made = [
        json.dumps({"score": i * 7 % 40, "member": i % 2, "sharer": f"{1 + i // 4}-Mar"}) for i in range(40)
    ]
    notes = describe_scores(write(tmp_path / "c.jsonl", *made), draws=50).notes()
    assert any("10 sharer ids look like dates" in note for note in notes)
    empty = write(tmp_path / "d.csv", "sharer,score,member", *(f",{i * 7 % 40},{i % 2}" for i in range(40)))
    notes = describe_scores(empty, draws=50).notes()
    assert any("column sharer is empty" in note for note in notes)
    assert not any("no column sharer" in note for note in notes)
    people = write(
        tmp_path / "e.csv", "user,owner,score,member", *(f"u,o,{i * 7 % 40},{i % 2}" for i in range(40))
    )
    (note,) = (n for n in describe_scores(people, draws=50).notes() if "not read" in n)
    assert "if owner is the sharer, pass --columns sharer=owner; user may be the sharer instead" in note


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_figures_are_whole_at_any_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    attacks = [f"LaMP-2/prime/heldout/reference{n}" for n in range(4)]
    lines = [f"{name},{i * 7 % 40},{i % 2}" for name in attacks for i in range(40)]
    path = write(tmp_path / "s.csv", "attack,score,member", *lines)
    monkeypatch.setenv("COLUMNS", str(width))
    done = CliRunner().invoke(command, [str(path)])
    assert done.exit_code == 0, done.output
    report = describe_scores(path)
    for row in report.rows():
        assert all(cell in done.output for cell in row)
    table = done.output.partition("p (adjusted) is corrected")[0]
    assert max(map(len, table.splitlines())) <= width
    assert "…" not in table
    assert done.output.count("finer than 1 of 20 non-members (4 of 4 attacks)") == 2


def test_an_interval_without_width_is_pointed_out(tmp_path: Path) -> None:
    path = write(tmp_path / "s.csv", "score,member", *(f"1,{int(i > 4)}" for i in range(10)))
    assert any("the interval has no width" in note for note in describe_scores(path, draws=50).notes())


def test_help_describes_every_column() -> None:
    shown = CliRunner().invoke(command, ["--help"], terminal_width=100).output
    assert all(f"{column.name} ({column.holds})" in " ".join(shown.split()) for column in COLUMNS)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space")
@pytest.mark.parametrize("named", [True, False], ids=["20,000 people", "rows alone"])
def test_a_hundred_thousand_rows_fit_in_a_gigabyte(tmp_path: Path, named: bool) -> None:
    rng = np.random.default_rng(0)
    path, script = tmp_path / "s.csv", tmp_path / "limited.py"
    people = rng.integers(20_000, size=100_000).tolist()
    path.write_text(
        f"score,member,{'sharer' if named else 'other'}\n"
        + "".join(f"{rng.normal():.5f},{rng.integers(2)},u{u}\n" for u in people)
    )
    script.write_text(
        "import resource, sys\nresource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "from prime_audit.scores.report import describe_scores\nprint(describe_scores(sys.argv[1]).attacks[0].n)"
    )
    environ = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    said = subprocess.run([sys.executable, script, path], capture_output=True, text=True, env=environ)
    assert said.stdout.strip() == "100000", said.stderr[-500:]


def test_a_permutation_test_needs_a_relabelling(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="draws is 1"):
        describe_scores(plain(tmp_path), draws=1)
