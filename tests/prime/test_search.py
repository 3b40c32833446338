"""The search alone: asked in whole populations it is the search that asks one candidate at a time."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prime_audit.prime.search import BOX, OPTIMIZERS, Search

Trace = list[tuple[tuple[float, ...], float]]


def hill(x: np.ndarray) -> float:
    """Score a point: a smooth hill with ripples; higher is better."""
    return float(-np.sum((x - 0.4) ** 2) + 0.3 * np.cos(5 * x).sum())


def whole(
    optimizer: str, dimension: int, budget: int, seed: int
) -> tuple[Trace, tuple[float, ...], list[int]]:
    search, trace, sizes = Search(optimizer, dimension, budget, seed), Trace(), list[int]()
    while not search.done:
        points = search.ask()
        values = [hill(p) for p in points]
        search.tell(values)
        trace += [(tuple(p), v) for p, v in zip(points, values, strict=True)]
        sizes.append(len(points))
    return trace, tuple(search.recommendation()), sizes


def one_at_a_time(optimizer: str, dimension: int, budget: int, seed: int) -> tuple[Trace, tuple[float, ...]]:
    """Search with nevergrad alone, as its manual has it."""
    import nevergrad as ng

    space = ng.p.Array(init=np.zeros(dimension), lower=-BOX, upper=BOX)
    space.random_state = np.random.RandomState(seed % 2**32)
    trace = Trace()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inner = ng.optimizers.registry[OPTIMIZERS[optimizer]](space, budget=budget, num_workers=1)
        for _ in range(budget):
            point = inner.ask()
            value = hill(np.array(point.value))
            inner.tell(point, -value)
            trace.append((tuple(np.array(point.value)), value))
        return trace, tuple(np.array(inner.provide_recommendation().value))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("dimension", "budget"), [(1, 7), (3, 20), (3, 30), (5, 50), (12, 31)])
def test_whole_populations_change_nothing(optimizer: str, dimension: int, budget: int) -> None:
    for seed in (0, 1, 2**40 + 7):
        trace, recommendation, sizes = whole(optimizer, dimension, budget, seed)
        plain, theirs = one_at_a_time(optimizer, dimension, budget, seed)
        assert trace == plain
        assert recommendation == theirs
        assert len(trace) == sum(sizes) == budget
        assert all(abs(w) <= BOX for point, _ in trace for w in point)
        assert all(abs(w) <= BOX for w in recommendation)


@settings(max_examples=15)
@given(st.integers(1, 9), st.integers(1, 60), st.integers(0, 2**63 - 1))
def test_cma_in_whole_populations_is_cma(dimension: int, budget: int, seed: int) -> None:
    trace, recommendation, _ = whole("cma", dimension, budget, seed)
    assert (trace, recommendation) == one_at_a_time("cma", dimension, budget, seed)


@pytest.mark.slow
@settings(max_examples=60)
@given(st.integers(1, 9), st.integers(1, 300), st.integers(0, 2**63 - 1))
def test_tbpsa_in_whole_populations_is_tbpsa(dimension: int, budget: int, seed: int) -> None:
    trace, recommendation, _ = whole("tbpsa", dimension, budget, seed)
    assert (trace, recommendation) == one_at_a_time("tbpsa", dimension, budget, seed)


def test_populations_are_really_asked_at_once() -> None:
    assert max(whole("cma", 3, 30, 0)[2]) > 1
    assert max(whole("tbpsa", 3, 30, 0)[2]) > 1


@pytest.mark.parametrize("optimizer", ["ngopt", "ngiohtuned"])
def test_the_others_are_never_asked_twice_before_they_are_told(optimizer: str) -> None:
    for dimension in (1, 3, 12):
        sizes = whole(optimizer, dimension, 25, 3)[2]
        if optimizer == "ngopt":
            assert set(sizes) == {1}
        assert sum(sizes) == 25


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_seed_decides(optimizer: str) -> None:
    assert whole(optimizer, 3, 15, 4) == whole(optimizer, 3, 15, 4)
    if optimizer in ("cma", "tbpsa"):  # at this size the other two choose Cobyla, which draws nothing
        assert whole(optimizer, 3, 15, 4)[0] != whole(optimizer, 3, 15, 5)[0]


def test_a_population_is_cut_at_the_budget() -> None:
    for budget in range(1, 12):
        search = Search("cma", 4, budget, 0)
        while not search.done:
            search.tell([0.0] * len(search.ask()))
        assert search.evaluated == budget


def test_objectives_are_told_one_a_candidate() -> None:
    search = Search("cma", 3, 10, 0)
    asked = search.ask()
    with pytest.raises(ValueError, match="zip"):
        search.tell([0.0] * (len(asked) + 1))
