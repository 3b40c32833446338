"""Signals are there or refuse to be read; what an attack returns is checked, and undefined items are settled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prime_audit.audit.auc import Undefined, auc
from prime_audit.audit.signals import (
    CONTROL_FIELDS,
    FIELDS,
    Signals,
    lowest,
    mean_nll,
    returned,
    settle,
    settle_both,
)
from prime_audit.errors import UserError

NAN = float("nan")


def test_an_absent_signal_says_what_to_do() -> None:
    signals = Signals(texts=["a", "b"])
    with pytest.raises(AttributeError, match="signal 'mu' was not computed: name it in the attack's needs"):
        _ = signals.mu
    assert signals.has("texts")
    assert not signals.has("mu")
    with pytest.raises(AttributeError, match="no attribute 'entropy'"):
        _ = signals.entropy  # type: ignore[attr-defined]


def test_only_what_was_declared() -> None:
    signals = Signals(texts=["a"], owners=["s"], logprobs=[np.zeros(2)])
    narrow = signals.only(["texts"])
    assert narrow.texts == ["a"]
    assert not narrow.has("owners")
    with pytest.raises(AttributeError, match="sigma"):
        signals.only(["sigma"])


def test_fields_of_different_lengths_are_refused_but_the_population_is_apart() -> None:
    with pytest.raises(ValueError, match="'logprobs': 1, 'texts': 2"):
        Signals(texts=["a", "b"], logprobs=[np.zeros(1)])
    Signals(texts=["a", "b"], population_logprobs=[np.zeros(1)])


def test_fields_of_attacks_and_of_controls() -> None:
    assert CONTROL_FIELDS == ("members", "similarity")
    assert set(FIELDS) | set(CONTROL_FIELDS) == set(Signals.__dataclass_fields__)


@given(st.integers(1, 400), st.integers(1, 99))
def test_lowest_counts_as_decimals_do(size: int, percent: int) -> None:
    assert len(lowest(np.zeros(size), percent / 100)) == max(1, percent * size // 100)


def test_mean_nll() -> None:
    found = mean_nll([np.array([-1.0, -3.0]), np.array([]), np.array([-np.inf])])
    np.testing.assert_array_equal(found, [2.0, NAN, np.inf])


def test_settle_puts_undefined_items_in_the_middle_and_counts_them() -> None:
    found, count = settle([1.0, NAN, 3.0, 9.0, NAN])
    assert (found.tolist(), count) == ([1.0, 3.0, 3.0, 9.0, 3.0], 2)
    assert settle([-np.inf, NAN, np.inf])[0].tolist() == [-np.inf, -np.inf, np.inf]
    untouched, none = settle([2.0, 1.0])
    assert (untouched.tolist(), none) == ([2.0, 1.0], 0)
    with pytest.raises(Undefined, match="undefined for all 2 items"):
        settle([NAN, NAN])


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=30), st.integers(0, 5))
def test_a_settled_item_is_no_evidence(scores: list[int], undefined: int) -> None:
    settled, count = settle([*map(float, scores), *[NAN] * undefined])
    assert count == undefined
    assert settled[: len(scores)].tolist() == scores
    if undefined:
        below, above = np.mean(settled[-1] > scores), np.mean(settled[-1] < scores)
        assert max(below, above) <= 0.5


def test_settling_commutes_with_monotone_maps_of_the_ranks() -> None:
    rng = np.random.default_rng(0)
    scores = np.where(rng.random(40) < 0.2, NAN, rng.normal(size=40))
    members = rng.random(40) < 0.5
    plain, mapped = settle(scores)[0], settle(np.exp(scores))[0]
    assert auc(plain[members], plain[~members]) == auc(mapped[members], mapped[~members])


@pytest.mark.parametrize("bad", [[1.0], [[1.0, 2.0]], 3.0])
def test_a_wrong_shape_is_one_line_with_the_attacks_name(bad: object) -> None:
    with pytest.raises(UserError, match=r"attack mine returned scores of shape .* for 2 items"):
        returned("mine", bad, 2)  # type: ignore[arg-type]


def test_no_numbers_and_nan() -> None:
    with pytest.raises(UserError, match="attack mine returned no numbers"):
        returned("mine", ["a", "b"], 2)
    assert np.isnan(returned("mine", [1, NAN], 2)).tolist() == [False, True]


def test_an_item_undefined_on_either_side_is_no_evidence_on_any() -> None:
    own, base = np.array([1.0, NAN, 3.0, 8.0, 5.0]), np.array([0.0, 50.0, 1.0, NAN, 2.0])
    left, right, paired = settle_both(own, base)
    assert left.tolist() == [1.0, 3.0, 3.0, 3.0, 5.0]
    assert right.tolist() == [0.0, 1.0, 1.0, 1.0, 2.0]
    assert (paired - right).tolist() == [1.0, 2.0, 2.0, 2.0, 3.0]  # the median gain
    same = settle_both(base[:1], base[:1] - np.inf)[2]
    assert same.tolist() == [0.0]
    with pytest.raises(Undefined):
        settle_both([1.0, NAN], [NAN, 1.0])
