"""Signals on disk: what is written is read back, to the bit; what was touched is refused in one line."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prime_audit.audit.pool import Pool
from prime_audit.audit.signals import ABSENT
from prime_audit.audit.signs import UNKNOWN, signs
from prime_audit.errors import UserError
from prime_audit.games.exam.observed import DTYPES, PER_ROW, VOCABULARY, Observed, written
from prime_audit.games.exam.stored import FIELDS, UNMERGED, Exam, Pass, add_fields, read_exam, write_exam

ODD = "../../étc/\u2028p\ud800w"
"""An id no path may be made of: separators, a line break of its own, half a character."""
ROWS = 4
SHADOWS = (4, 2, 0, 6)
TWINS = [["a"], [], [], [ODD, "b"]]


def observed(rng: np.random.Generator, moments: bool = False, rest: bool = False) -> Observed:
    lengths = [3, 1, 0, 5]
    tokens = [-rng.random(n) for n in lengths]
    tokens[1][:] = -np.inf
    more = [rng.random(n) for n in lengths]
    return Observed(
        logprobs=tokens,
        mu=more if moments else ABSENT,
        sigma=more if moments else ABSENT,
        top=[row > 0.5 for row in more] if moments else ABSENT,
        lower_logprobs=[rng.random(n + 1) for n in lengths] if rest else ABSENT,
        prefix_logprobs=tokens if rest else ABSENT,
        **(dict.fromkeys(("grad_norm", "alignment"), more) if rest else {}),
        shadow_nll=[rng.random(n) for n in SHADOWS] if rest else ABSENT,
        continuations=[written(["Ü", ODD][: n % 3]) for n in lengths] if rest else ABSENT,
        population=[rng.random(2), rng.random(4)] if rest else [],
    )


def exam(seed: int = 0, *, moments: bool = False, rest: bool = False) -> Exam:
    rng = np.random.default_rng(seed)
    marks: dict[str, Any] = dict.fromkeys(("trained", "last", "drawn"), np.array([True, False, True, False]))
    texts = {"owners": [ODD, "a", "a", "b"], "ids": list("wxyz"), "prompts": [""] * ROWS}
    marks |= {"places": np.array([[3, 9], [1, 2], [2, 2], [5, 5]]), "given": True}
    pool = Pool(**texts, golds=["g", "", "Ü", "g"], **marks, twins=TWINS, population=[("p", "q")])
    inside = [np.arange(n) % 2 == 0 for n in SHADOWS] if rest else []
    pool = replace(pool, inside=inside)
    names = ["logprobs", *(VOCABULARY if moments else []), *(FIELDS[4:] if rest else [])]
    base = Pass(kind="base", method=None, seen={UNMERGED: observed(rng, moments, rest)}, fields=names)
    seen = {target: observed(rng, moments, rest) for target in ("t0", ODD)}
    merged = {"t0": ("a",), ODD: ()}
    own = Pass(kind="modules", method="m", labels=["m", "m+rag"], merged=merged, seen=seen, fields=names)
    idle = Pass(kind="inclusion", method="m", labels=["m"], why="merges nobody")
    coins = replace(own, kind="inclusion", method="n", labels=["n"], merged={"t0": ("a",)}, seen={})
    coins = replace(coins, coins={"t0": {"a": True, "b": False}})
    similar = {target: {"a": 0.1, "b": -0.5, ODD: 1 / 3} for target in ("t0", ODD)}
    return Exam("LaMP-2", 7, {"sharers": pool}, similar, [base, own, idle, coins])


def gaps() -> Exam:
    """Return an exam whose models were asked for some rows alone."""
    made = exam(moments=True, rest=True)
    base, own, *rest = made.passes
    drawn = {"t0": np.array([0, 2]), ODD: np.array([], dtype=np.int64)}
    every = np.array([0, 1, 3])
    seen = {
        t: replace(s, **{f: [getattr(s, f)[r] for r in every] for f in PER_ROW}).spread(every, ROWS)
        for t, s in own.seen.items()
    }
    pool = replace(made.pools["sharers"], sampled=drawn)
    return replace(made, pools={"sharers": pool}, passes=[base, replace(own, seen=seen), *rest])


def test_rows_that_a_model_was_not_asked_for_stay_so(tmp_path: Path) -> None:
    made = gaps()
    write_exam(tmp_path, made)
    again = read_exam(tmp_path, "LaMP-2")
    same(again, made)
    assert [len(row) for row in again.passes[1].seen["t0"].lower_logprobs] == [4, 2, 0, 6]
    assert again.pools["sharers"].sampled[ODD].dtype == np.int64
    grown = add_fields(tmp_path, again, made.passes, [])
    same(read_exam(tmp_path, "LaMP-2"), grown)


def same(one: Exam, other: Exam) -> None:
    assert (one.task, one.seed, one.similarity) == (other.task, other.seed, other.similarity)
    for field in fields(Pool):
        if field.name == "inside":
            a, b = ([own.tolist() for own in e.pools["sharers"].inside] for e in (one, other))
        elif field.name == "sampled":
            a, b = ({t: r.tolist() for t, r in e.pools["sharers"].sampled.items()} for e in (one, other))
        else:
            a, b = (np.asarray(getattr(e.pools["sharers"], field.name), dtype=object) for e in (one, other))
            a, b = a.tolist(), b.tolist()
        assert a == b
    for p, q in zip(one.passes, other.passes, strict=True):
        assert (p.key, list(p.labels), p.merged, p.coins, p.why) == (
            q.key,
            list(q.labels),
            q.merged,
            q.coins,
            q.why,
        )
        assert list(p.seen) == list(q.seen)
        for target, seen in p.seen.items():
            for name in FIELDS:
                a, b = getattr(seen, name), getattr(q.seen[target], name)
                assert (a is ABSENT) == (b is ABSENT), name
                for row, again in zip(a or [], b or [], strict=True):
                    assert row.dtype == again.dtype == DTYPES[name]
                    assert row.tobytes() == again.tobytes()


@pytest.mark.parametrize(("moments", "rest"), [(False, False), (True, False), (True, True)])
def test_what_is_written_is_read_back_to_the_bit(tmp_path: Path, moments: bool, rest: bool) -> None:
    made = exam(moments=moments, rest=rest)
    write_exam(tmp_path, made)
    same(read_exam(tmp_path, "LaMP-2"), made)


def test_the_same_signals_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_exam(tmp_path / name, exam())
    files = sorted((tmp_path / "one" / "signals").iterdir())
    named = [f"LaMP-2.{sha256(f.read_bytes()).hexdigest()[:16]}.safetensors" for f in files[:2]]
    assert [f.name for f in files] == [*named, "LaMP-2.pool.json"]
    assert all(f.read_bytes() == (tmp_path / "two" / "signals" / f.name).read_bytes() for f in files)


def test_fields_observed_later_stand_beside_the_others(tmp_path: Path) -> None:
    first = exam()
    write_exam(tmp_path, first)
    old = {f: f.read_bytes() for f in (tmp_path / "signals").glob("*.safetensors")}
    assert first.lacking(["mu", "population_out_nll"], ["modules"]) == ["mu", "population"]
    assert first.lacking(["logprobs", "base_logprobs", "texts"], ["modules"]) == []
    full = exam(moments=True, rest=True)  # its log-probabilities differ: those stored first stay
    grown = add_fields(tmp_path, read_exam(tmp_path, "LaMP-2"), full.passes, FIELDS[1:])
    assert grown.lacking(["mu", "population_out_nll", "prefix_logprobs"], ["modules"]) == []
    same(read_exam(tmp_path, "LaMP-2"), grown)
    assert {f: f.read_bytes() for f in old} == old
    assert np.array_equal(grown.passes[1].seen["t0"].logprobs[0], first.passes[1].seen["t0"].logprobs[0])
    assert np.array_equal(grown.passes[1].seen["t0"].mu[0], full.passes[1].seen["t0"].mu[0])


@pytest.mark.parametrize("kind", ["safetensors", "json"])
def test_a_changed_file_is_refused(tmp_path: Path, kind: str) -> None:
    write_exam(tmp_path, exam())
    path = next((tmp_path / "signals").glob(f"*.{kind}"))
    content = bytearray(path.read_bytes())
    place = content.rindex(b'"seed": 7') + 8 if kind == "json" else len(content) - 1
    content[place] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match=f"{path.name}.*sha256") as said:
        read_exam(tmp_path, "LaMP-2")
    assert "\n" not in str(said.value)


def test_a_missing_or_foreign_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no signals are stored"):
        read_exam(tmp_path, "LaMP-2")
    write_exam(tmp_path, exam())
    next((tmp_path / "signals").glob("*.safetensors")).unlink()
    with pytest.raises(UserError, match="cannot be read"):
        read_exam(tmp_path, "LaMP-2")
    (tmp_path / "signals" / "LaMP-2.pool.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UserError, match="is no prime-audit/signals/4"):
        read_exam(tmp_path, "LaMP-2")


def test_a_pool_of_the_earlier_format_is_read_without_places(tmp_path: Path) -> None:
    write_exam(tmp_path, exam())
    path = tmp_path / "signals" / "LaMP-2.pool.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content.pop("sha256")
    content["format"] = "prime-audit/signals/3"
    for key in ("places", "given"):
        del content["pools"]["sharers"][key]
    content["pools"]["sharers"]["drawn"] = [1] * ROWS  # held-out items, too
    content["sha256"] = sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(content), encoding="utf-8")
    pool = read_exam(tmp_path, "LaMP-2").pools["sharers"]
    assert (len(pool), pool.places.shape, pool.given) == (ROWS, (0, 2), False)
    assert signs(pool) == ()
    theirs = read_exam(tmp_path, "LaMP-2", given=True).pools["sharers"]
    assert theirs.given
    assert signs(theirs) == (UNKNOWN,)


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        ({"inside": [SHADOWS[0] * [True], 3 * [True], [], [True] * 5]}, "an odd one"),
        ({"inside": [SHADOWS[0] * [True], 4 * [True], 2 * [True], 6 * [True]]}, "other numbers of shadows"),
        ({"continuations": [np.frombuffer(b"[" * 200_000, dtype=np.uint8)] * ROWS}, "nest too deep"),
        ({"continuations": [np.frombuffer(b"[1]", dtype=np.uint8)] * ROWS}, "continuations that are no"),
    ],
)
def test_rows_that_do_not_fit_are_one_line(tmp_path: Path, rows: dict[str, Any], part: str) -> None:
    made = exam(rest=True)
    if "inside" in rows:
        inside = [np.array(own, dtype=np.bool_) for own in rows["inside"]]
        made = replace(made, pools={"sharers": replace(made.pools["sharers"], inside=inside)})
    else:
        base, own, *others = made.passes
        seen = {target: replace(said, **rows) for target, said in own.seen.items()}
        made = replace(made, passes=[base, replace(own, seen=seen), *others])
    write_exam(tmp_path, made)
    with pytest.raises(UserError, match=f"is inconsistent .*{part}") as said:
        read_exam(tmp_path, "LaMP-2")
    assert "\n" not in str(said.value)
