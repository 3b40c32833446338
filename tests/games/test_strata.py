"""Sampled non-members: by whom the draw is decided, what it leaves of the game, what its figures still say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from prime_audit.audit.design import Dealt
from prime_audit.audit.mean_auc import TargetScores
from prime_audit.audit.permutation import PERMUTATIONS, permutation_test
from prime_audit.audit.pool import Pool
from prime_audit.audit.strata import sampled, strata_of
from prime_audit.calibration.trials import trials
from prime_audit.games.exam.observed import Observed, Shadow, signals_of
from prime_audit.games.exam.play import ALL, Player
from prime_audit.games.exam.queries import Queries
from prime_audit.games.exam.stored import Pass
from prime_audit.plugins import Audited
from prime_audit.plugins.loading import load_attack, load_game
from tests.games.sampling import sampling

COUNTS = st.dictionaries(st.text(max_size=3), st.integers(1, 9), min_size=1, max_size=5)


def strata(counts: dict[str, int]) -> dict[str, np.ndarray]:
    """Rows of each sharer, in blocks of ten."""
    return {name: 10 * place + np.arange(n) for place, (name, n) in enumerate(counts.items())}


def own(rows: np.ndarray, stratum: np.ndarray) -> list[int]:
    return [r for r in rows.tolist() if r in set(stratum.tolist())]


@given(COUNTS, st.integers(1, 9), st.integers(0, 99))
def test_a_sample_is_the_seed_s_the_target_s_and_the_sharer_s_affair(
    counts: dict[str, int], each: int, seed: int
) -> None:
    whole = strata(counts)
    found = sampled(whole, ["t", "u"], each, seed=seed, task="LaMP-4")
    if each >= max(counts.values()):
        assert found == {}  # nothing is left out: the game of all items
        return
    more = sampled(whole, ["t"], each + 1, seed=seed, task="LaMP-4")
    for sharer, rows in whole.items():
        kept = own(found["t"], rows)
        assert len(kept) == len(set(kept)) == min(each, rows.size)
        fewer = {sharer: rows, "other": np.arange(1000, 1000 + 2 * each)}
        alone = sampled(fewer, ["t"], each, seed=seed, task="LaMP-4")  # whoever else shares or is tested
        assert own(alone["t"], rows) == kept
        assert not more or set(kept) <= set(own(more["t"], rows))
    assert all((np.diff(rows) > 0).all() for rows in found.values())


def test_no_sampling_where_none_is_asked_for() -> None:
    assert sampled(strata({"a": 9}), ["t"], 0, seed=0, task="LaMP-4") == {}


def test_every_item_is_as_likely_and_targets_draw_apart() -> None:
    rows = strata({"a": 8})
    targets = [f"t{n}" for n in range(2000)]
    drawn = sampled(rows, targets, 2, seed=0, task="LaMP-4")
    counts = np.bincount(np.concatenate(list(drawn.values())), minlength=8)
    assert np.abs(counts / 2000 - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / 2000)
    pairs = {tuple(found.tolist()) for found in drawn.values()}
    assert len(pairs) == 28
    again = sampled(rows, targets, 2, seed=1, task="LaMP-4")
    assert any((again[t] != drawn[t]).any() for t in targets)


# -- the game -------------------------------------------------------------------------------------------------

EACH, SHARERS = 12, 12
OWNERS = [f"s{n // EACH}" for n in range(EACH * SHARERS)]
NEAR = {t: {f"s{n}": n / SHARERS for n in range(SHARERS)} for t in "tuv"}
MERGED = {"t": ("s0", "s1", "s2"), "u": ("s1", "s3"), "v": ("s0", "s4")}


def pool(each: int, seed: int = 0) -> Pool:
    """Every sharer's first eight items are trained on; the last six of those are the paper's, 4 + 4 are drawn."""
    place = np.arange(len(OWNERS)) % EACH
    words = [f"word{n} rain" for n in range(len(OWNERS))]
    trained, last, drawn = place < 8, (place >= 2) & (place < 8), place >= 4
    others = sampled(strata_of(OWNERS, last), MERGED, each, seed=seed, task="LaMP-4")
    marks = {"trained": trained, "last": last, "drawn": drawn}
    texts = {"owners": OWNERS, "ids": words, "prompts": words, "golds": words}
    return Pool(**texts, **marks, twins=[()] * len(OWNERS), sampled=others)


def dealt_by(game: str, target: str, merged: Sequence[str], some: Pool) -> Dealt:
    return load_game(game).deal(Audited(target=target, merged=merged), some)


def passed(seen: dict[str, Observed]) -> Pass:
    return Pass(kind="modules", method="m", labels=["m"], merged=MERGED, seen=seen)


def observed(seed: int, rows: np.ndarray | None = None) -> Observed:
    rng = np.random.default_rng(seed)
    tokens = [rng.normal(-2, 1, 3) for _ in OWNERS]
    kept = set(range(len(OWNERS)) if rows is None else rows.tolist())
    tokens = [row if n in kept else np.zeros(0) for n, row in enumerate(tokens)]
    return Observed(logprobs=tokens)


def test_members_are_never_sampled() -> None:
    some, every = pool(2), pool(0)
    for target, merged in MERGED.items():
        few, all_ = (dealt_by("paper", target, merged, p) for p in (some, every))
        assert few.even is not None
        assert all_.even is None
        assert few.rows[few.members].tolist() == all_.rows[all_.members].tolist()
        assert set(few.rows.tolist()) < set(all_.rows.tolist())
        for sharer in NEAR[target]:
            own = [place for place, owner in enumerate(few.owners) if owner == sharer]
            assert len(own) == (6 if sharer in merged else 2)
            assert few.even[own].sum() == 2  # hers were drawn as the others' were
        merging_others = dealt_by("paper", target, ("s9",), some)
        for sharer in {*NEAR[target]} - {*merged, "s9"}:
            a, b = (
                [r for r, o in zip(d.rows, d.owners, strict=True) if o == sharer]
                for d in (few, merging_others)
            )
            assert a == b
    assert dealt_by("paper", "t", (), some).reason == "merges nobody: no members"
    heldout = [dealt_by("heldout", "t", MERGED["t"], p).rows.tolist() for p in (some, every)]
    assert heldout[0] == heldout[1]


def test_the_mean_of_sampled_aucs_is_the_auc_of_all() -> None:
    rng = np.random.default_rng(0)
    scores = np.repeat(rng.normal(size=SHARERS), EACH) + rng.normal(size=len(OWNERS))

    def value(some: Pool) -> float:
        dealt = dealt_by("paper", "t", MERGED["t"], some)
        return float(roc_auc_score(dealt.members, scores[dealt.rows]))

    found = [value(pool(2, seed)) for seed in range(400)]
    error = np.std(found) / np.sqrt(len(found))
    assert error > 0
    assert abs(np.mean(found) - value(pool(0))) < 4 * error


def judged(some: Pool, attack: str = "loss") -> tuple[dict[str, float | None], int, float | None]:
    asked = {t: dealt_by("paper", t, merged, some).rows for t, merged in MERGED.items()}
    seen = {t: observed(n, asked[t]) for n, t in enumerate(MERGED)}
    player = Player(some, [load_attack(attack)], NEAR, observed(9))
    played = player.play(load_game("paper"), passed(seen), effort=ALL, seed=0)
    (leak,) = played.leaks("T", "m")
    return dict(leak.tpr), leak.others, leak.p


def test_a_tpr_finer_than_the_sample_is_refused() -> None:
    full, others, _ = judged(pool(0))
    assert others == (9 + 10 + 10) * 6
    assert full["0.1"] is not None
    few, others, _ = judged(pool(1))
    assert others == 9 + 10 + 10
    assert few == {"0.1": None, "0.01": None, "0.001": None}  # 9 others carry 1/9, no finer


def test_membership_is_exchanged_among_items_drawn_alike() -> None:
    some, panels = pool(2), []
    for number, (target, merged) in enumerate(MERGED.items()):
        rows = some.sampled[target]
        scores = np.array([observed(number).logprobs[r].sum() for r in rows])
        owners = [OWNERS[r] for r in rows]
        panels.append(TargetScores(target, scores, owners, np.array([o in merged for o in owners])))
    assert judged(some)[2] == permutation_test(panels, unit="sharer", n=PERMUTATIONS, seed=0).p


@pytest.mark.parametrize("attack", ["loss", "lira_offline", "user_level", "reference"])
def test_a_sample_of_all_is_the_game_of_all(attack: str) -> None:
    assert judged(pool(6), attack) == judged(pool(0), attack)
    assert judged(pool(5), attack) != judged(pool(0), attack)


# -- shadow models --------------------------------------------------------------------------------------------


def shadows(game: str, each: int) -> tuple[dict[int, int], dict[int, int], dict[int, bool]]:
    """Numbers of IN and OUT models of each of t's items, by row, and which are members."""
    some = pool(each)
    dealt = {g: [dealt_by(g, t, merged, some) for t, merged in MERGED.items()] for g in ("paper", "heldout")}
    asked = {
        d.target: np.union1d(d.rows, e.rows) for d, e in zip(dealt["paper"], dealt["heldout"], strict=True)
    }
    seen = {t: observed(n, asked[t] if each else None) for n, t in enumerate(MERGED)}
    player, one, own = Player(some, [], NEAR, observed(9)), passed(seen), dealt[game][0]
    signals = player.signals(one, own, Queries.shadows(one, dealt[game], some), base=False)
    rows = own.rows.tolist()
    assert all(np.isfinite(found).all() for found in (*signals.in_nll, *signals.out_nll))
    inside, outside = (
        dict(zip(rows, map(len, found), strict=True)) for found in (signals.in_nll, signals.out_nll)
    )
    return inside, outside, dict(zip(rows, own.members.tolist(), strict=True))


def test_a_model_that_was_not_asked_is_no_shadow() -> None:
    inside, outside, _ = shadows("paper", 2)
    full_in, full_out, _ = shadows("paper", 0)
    assert {full_in[r] + full_out[r] for r in full_in} == {3}
    assert inside == {r: full_in[r] for r in inside}  # who merges an owner is asked for all her items
    drawn = pool(2).sampled
    for row, count in outside.items():
        others = [t for t in "uv" if OWNERS[row] not in MERGED[t] and row in drawn[t]]
        assert count == 1 + len(others)  # the base is always there


def test_shadows_do_not_tell_held_out_items() -> None:
    inside, outside, members = shadows("heldout", 2)
    assert sum(members.values()) == 12
    assert set(outside.values()) == {1}
    assert all(inside[r] == (OWNERS[r] in ("s0", "s1")) for r in members)  # trained or not
    assert set(shadows("heldout", 0)[1].values()) == {2, 3}


def test_an_item_in_play_that_was_not_asked_for_is_a_fault() -> None:
    some = pool(0)
    dealt = dealt_by("paper", "t", MERGED["t"], some)
    lacking = observed(0, dealt.rows[1:])
    with pytest.raises(ValueError, match="never queried"):
        signals_of(lacking, observed(9), {}, {}, some, dealt, np.ones(dealt.rows.size))
    one = replace(dealt, rows=dealt.rows[1:], owners=dealt.owners[1:], members=dealt.members[1:])
    others = {"u": Shadow.of(lacking)}
    assert signals_of(lacking, observed(9), others, MERGED, some, one, np.ones(one.rows.size)).items == 71


# -- precision ------------------------------------------------------------------------------------------------


def test_a_few_of_each_sharer_say_nearly_as_much() -> None:
    found = [
        sampling((0, 10), rng, correlation=0.5, items=40, targets=6, relabellings=19) for rng in trials(4, 0)
    ]
    widths = {each: np.mean([one[each].width for one in found]) for each in (0, 10)}
    assert {one[10].others / one[0].others for one in found} == {0.25}
    assert 0.9 < widths[10] / widths[0] < 1.15
    assert all(0 < one[10].p <= 1 for one in found)
