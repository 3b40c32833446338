"""Where people are members, anew for every target: one adapter's luck is the same for every target that merges it."""

from __future__ import annotations

import numpy as np
import pytest

from prime_audit.audit.design import Dealt, Design
from prime_audit.audit.judge import Judged, Scored, judge
from prime_audit.audit.verdict import ALPHA

INCLUSION = Design(unit="sharer", randomised=True, whole=True)
SHARERS, TARGETS, CANDIDATES = 8, 20, 6


def audit(seed: int, own: float) -> Judged:
    """Audit adapters whose effect on every person's items is random; ``own`` is added to that on their own person's."""
    rng = np.random.default_rng(seed)
    effects = rng.normal(size=(SHARERS, SHARERS)) + own * np.eye(SHARERS)
    dealt, scores = [], {}
    for number in range(TARGETS):
        target, people = f"t{number}", rng.permutation(SHARERS)[:CANDIDATES]
        coins = rng.integers(2, size=CANDIDATES).astype(bool)
        merged = people[coins]
        scores[target] = effects[merged][:, people].mean(axis=0) if merged.size else np.zeros(CANDIDATES)
        owners = [f"s{one}" for one in people]
        dealt.append(Dealt(target=target, rows=np.arange(CANDIDATES), members=coins, owners=owners))
    base = {target: np.zeros(CANDIDATES) for target in scores}
    scored = Scored(attack="loss", scores=scores, undefined=0, controls={"base": base})
    return judge(INCLUSION, dealt, [scored], seed=seed, permutations=999)[0]


def test_adapters_that_hold_nothing_of_their_people_do_not_leak() -> None:
    audits = [audit(seed, 0.0) for seed in range(150)]
    found = [one.verdict.word for one in audits].count("leaks")
    assert found <= 0.05 * len(audits)
    # Exchanging coins alone would have called more: the adapters' luck is shared by all targets.
    assert sum(one.tests.p_auc <= ALPHA for one in audits if one.tests) > 0.1 * len(audits)


def test_a_large_effect_on_their_own_people_is_found_and_what_can_be_found_is_less_than_certain() -> None:
    audits = [audit(seed, 3.0) for seed in range(20)]
    assert [one.verdict.word for one in audits].count("leaks") >= 18
    for one in audits:
        assert one.tests is not None
        assert one.base_difference is not None
        ci = one.base_difference.ci
        assert ci is not None
        assert (one.verdict.word == "leaks") <= (ci[0] > 0)


@pytest.mark.parametrize("look", ["p_gain", "p_tail", "adjusted"])
def test_no_look_is_surer_than_the_interval_over_people(look: str) -> None:
    for one in (audit(seed, 1.0) for seed in range(10)):
        assert one.tests is not None
        assert one.base_difference is not None
        ci = one.base_difference.ci
        assert ci is not None
        if ci[0] <= 0:
            assert getattr(one.tests, look) > ALPHA
