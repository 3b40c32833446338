"""Where people are members, anew for every target: one adapter's luck is the same for every target that merges it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from prime_audit.audit.design import Dealt, Design
from prime_audit.audit.judge import Judged, Scored, judge
from prime_audit.audit.mean_auc import TargetScores
from prime_audit.audit.people import flipped, shares
from prime_audit.audit.verdict import ALPHA

INCLUSION = Design(unit="sharer", randomised=True, whole=True)


def audit(
    seed: int, own: float, attacks: int = 1, *, sharers: int = 8, targets: int = 20, based: bool = True
) -> list[Judged]:
    """Audit adapters whose effect on every person's items is random; ``own`` is added to that on their own person's.

    Several attacks see related effects (correlation .7).
    """
    rng = np.random.default_rng(seed)
    common, kinds = rng.normal(size=(sharers, sharers)), rng.normal(size=(attacks, sharers, sharers))
    effects = 0.7**0.5 * common + 0.3**0.5 * kinds + own * np.eye(sharers)
    dealt: list[Dealt] = []
    scores: list[dict[str, np.ndarray]] = [{} for _ in range(attacks)]
    for number in range(targets):
        target, people = f"t{number}", rng.permutation(sharers)[: min(6, sharers)]
        coins = rng.integers(2, size=people.size).astype(bool)
        merged = people[coins]
        for own_scores, effect in zip(scores, effects, strict=True):
            moved = effect[merged][:, people].mean(axis=0) if merged.size else np.zeros(people.size)
            own_scores[target] = moved
        owners = [f"s{one}" for one in people]
        dealt.append(Dealt(target=target, rows=np.arange(people.size), members=coins, owners=owners))
    controls = {"base": {d.target: np.zeros(len(d.owners)) for d in dealt}} if based else {}
    scored = [Scored(attack=str(n), scores=s, undefined=0, controls=controls) for n, s in enumerate(scores)]
    return judge(INCLUSION, dealt, scored, seed=seed, permutations=499)


@pytest.mark.parametrize("based", [True, False])
@pytest.mark.parametrize("attacks", [1, 5])
def test_adapters_that_hold_nothing_of_their_people_do_not_leak(attacks: int, based: bool) -> None:
    """Exchanging coins alone calls more than twice as many: the adapters' luck is shared by all targets."""
    audits = [audit(seed, 0.0, attacks, based=based) for seed in range(60)]
    called = sum(any(one.verdict.word == "leaks" for one in own) for own in audits)
    by_coins = sum(any(one.tests.p_gain <= ALPHA for one in own if one.tests) for own in audits)
    assert called <= 0.07 * len(audits)
    assert by_coins > 0.12 * len(audits)
    blocked = [one.verdict.reason for own in audits for one in own if one.verdict.word != "leaks"]
    assert any("over people it is not beyond chance" in reason for reason in blocked)
    assert not any("unlucky draw" in reason for reason in blocked if "exchanging coins finds" in reason)


@pytest.mark.parametrize("sharers", [5, 8])
def test_what_is_large_is_found(sharers: int) -> None:
    """Even of five people, where all that they add has one sign: p is 1/32."""
    audits = [audit(seed, 6.0, 3, sharers=sharers) for seed in range(10)]
    words = [one.verdict.word for own in audits for one in own]
    assert words.count("leaks") >= 0.8 * len(words)
    for one in itertools.chain(*audits):
        assert one.tests is not None
        assert one.tests.p_people is not None
        assert one.tests.adjusted >= one.tests.p_people >= 2.0**-sharers


def test_four_people_are_too_few_whatever_they_show() -> None:
    (one,) = audit(0, 6.0, sharers=4)
    assert one.verdict.word == "too few to say"


def test_a_single_figure_has_nearly_students_p() -> None:
    rng = np.random.default_rng(0)
    for gain in (0.2, 0.5, 0.8):
        values = rng.normal(gain, 1.0, size=12)
        (p,) = flipped([{str(n): float(v) for n, v in enumerate(values)}], seed=0)
        assert p == pytest.approx(ttest_1samp(values, 0.0, alternative="greater").pvalue, abs=0.02)


def test_figures_that_repeat_cost_nothing_and_others_do() -> None:
    rng = np.random.default_rng(1)
    one, other = ({str(n): float(v) for n, v in enumerate(rng.normal(0.6, 1.0, size=10))} for _ in range(2))
    alone = flipped([one], seed=0)[0]
    assert flipped([one, one, None], seed=0) == [alone, alone, 1.0]
    assert flipped([one, other], seed=0)[0] >= alone


def test_shares_average_to_the_gain_where_each_person_counts_alike() -> None:
    """Two people on each side, one item each: leaving one out keeps half of the pairs."""
    scores, base = np.array([3.0, 1.0, 2.0, 0.0]), np.zeros(4)
    members = np.array([True, True, False, False])
    panels = [TargetScores("t", own, ("a", "b", "c", "d"), members) for own in (scores, base)]
    own = shares(panels[:1], panels[1:])
    assert own is not None
    assert np.mean([*own.values()]) == pytest.approx(0.25)  # AUC ¾, the base's ½
    assert own["a"] == pytest.approx(4 * 0.25 - 3 * 0.0)  # without a, b beats one of two
    assert shares(panels[:1], None) == own
