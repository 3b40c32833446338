"""Attacks that say the same are named, whatever their scale; those that only rank alike are not."""

from __future__ import annotations

import numpy as np

from prime_audit.audit.duplicates import marked
from prime_audit.audit.judge import Scored


def scored(name: str, values: np.ndarray, base: np.ndarray) -> Scored:
    halves = [dict(zip("tu", np.split(side, 2), strict=True)) for side in (values, base)]
    return Scored(attack=name, scores=halves[0], undefined=0, controls={"base": halves[1]})


def test_the_first_of_attacks_that_say_the_same_is_named() -> None:
    rng = np.random.default_rng(0)
    own, base = rng.normal(size=20), rng.normal(size=20)
    found = marked(
        [
            scored("loss", own, base),
            scored("other", rng.normal(size=20), base),
            scored("scaled", 3 * own + 1, 3 * base + 1),
            scored("bent", np.exp(own), np.exp(base)),
            scored("base moved", own, base + 1),
            scored("reversed", -own, -base),
            scored("rounded", own * (1 + 1e-14), base),
            scored("bent too", 2 * np.exp(own), 2 * np.exp(base)),
        ]
    )
    names = {one.attack: one.duplicate for one in found}
    assert {k: v for k, v in names.items() if v} == {"scaled": "loss", "rounded": "loss", "bent too": "bent"}


def test_infinite_and_constant_scores_are_compared_too() -> None:
    flat, base = np.zeros(4), np.zeros(4)
    low = np.array([0.0, 1.0, 2.0, -np.inf])
    found = marked(
        [
            scored("a", flat, base),
            scored("b", flat + 1, base + 1),
            scored("c", low, base),
            scored("d", low, base),
        ]
    )
    assert [one.duplicate for one in found] == [None, "a", None, "c"]


def test_other_targets_are_no_duplicate() -> None:
    own = np.arange(4.0)
    one, other = scored("a", own, own), scored("b", own, own)
    half = Scored(attack="b", scores={"t": own[:2]}, undefined=0, controls={"base": {"t": own[:2]}})
    assert [x.duplicate for x in marked([one, half, other])] == [None, None, "a"]
