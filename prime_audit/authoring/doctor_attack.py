"""Checks of an attack: what it declares, and its scores of simulated signals with and without a leak."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from prime_audit.audit import simulated
from prime_audit.audit.auc import FloatArray, auc
from prime_audit.audit.signals import Signals, returned, settle
from prime_audit.authoring.check import Check, described, in_line
from prime_audit.errors import UserError
from prime_audit.plugins import Attack
from prime_audit.plugins.calling import scores_of
from prime_audit.plugins.loading import load_attack

PLANTED = 1.5
"""What a planted leak adds to the logit of every member's gold token; the loss attack's AUC is about 0.8."""
SEEDS = range(5)
"""Planted leaks."""
LEAST = 0.6
"""The least mean AUC on them: every attack of the literature passes 0.7."""
NULLS = range(1000, 1060)
"""Games without a leak."""
SLACK = 0.02
"""How far from ½ the mean AUC of those may lie; it has a standard error of about 0.008."""
SLOW = 0.01
"""Seconds an item; a pass of the mini model takes about as long."""
CONFUSED = 0.5
"""Share of undefined items from which a score says too little."""


def examine_attack(attack: Attack) -> list[Check]:
    """Check one attack; where it does not run at all, that is the only line."""
    checks = [described(attack)]
    for look in (_needs, _shape):
        checks.append(look(attack))
        if not checks[-1].ok:
            return checks
    looks = (_finite, _odd, _untouched, _repeats, _order, _direction, _null, _cost)
    return [*checks, *(_guarded(look, attack) for look in looks)]


def _guarded(look: Callable[[Attack], Check], attack: Attack) -> Check:
    try:
        return look(attack)
    except UserError as fault:
        return Check(look.__name__.strip("_"), False, in_line(fault), "return one float an item for any game")


# -- one check each ----------------------------------------------------------------------------------------


def _needs(attack: Attack) -> Check:
    read: set[str] = set()

    class Watched(Signals):
        def __getattribute__(self, name: str) -> object:
            if name in attack.needs:
                read.add(name)
            return super().__getattribute__(name)

    whole = _given(attack, 0)
    given = Watched(**{name: getattr(whole, name) for name in attack.needs})
    read.clear()
    declared = ", ".join(attack.needs) or "nothing"
    try:
        attack.score(given)
    except AttributeError as fault:
        return Check(
            "needs", False, f"declares {declared}, but {in_line(fault)}", "complete needs= in @attack"
        )
    except Exception as fault:
        where = f"fails on a plain game: {type(fault).__name__}: {in_line(fault)}"
        return Check("needs", False, where, "fix it; try it on prime_audit.audit.simulated.game(0, 1.5)")
    idle = [name for name in attack.needs if name not in read]
    more = f" (never reads {', '.join(idle)}: drop it and save the pass)" if idle else ""
    return Check("needs", True, f"runs with {declared}{more}")


def _shape(attack: Attack) -> Check:
    try:
        returned(attack.name, attack.score(_given(attack, 0)), OWN_ITEMS)
    except UserError as fault:
        return Check("shape", False, in_line(fault), "return a float array [items], in the items' order")
    return Check("shape", True, f"one number an item, {OWN_ITEMS} items")


def _finite(attack: Attack) -> Check:
    scores = np.array([np.asarray(attack.score(_given(attack, s)), dtype=np.float64) for s in SEEDS])
    undefined, infinite = int(np.isnan(scores).sum()), int(np.isinf(scores).sum())
    found = f"{undefined} of {scores.size} undefined (NaN), {infinite} infinite"
    remedy = "return NaN only where the score does not exist, and no infinity for finite signals"
    return Check("finite", not infinite and undefined < CONFUSED * scores.size, found, remedy)


def _odd(attack: Attack) -> Check:
    try:
        with np.errstate(all="ignore"):
            undefined = int(np.isnan(scores_of(attack, simulated.odd())).sum())
    except UserError as fault:
        remedy = "give NaN where there is no score (see prime_audit.audit.simulated.odd)"
        return Check("odd items", False, in_line(fault), remedy)
    return Check("odd items", True, f"certain, impossible and lonely items; {undefined} of 4 undefined")


def _untouched(attack: Attack) -> Check:
    given = _given(attack, 0)
    before = copy.deepcopy(given)
    attack.score(given)
    changed = [n for n in attack.needs if not _same(getattr(given, n), getattr(before, n))]
    found = f"changes {', '.join(changed)} in place" if changed else "leaves its signals as they are"
    return Check("untouched", not changed, found, "work on copies: other attacks read the same arrays")


def _repeats(attack: Attack) -> Check:
    first, again = attack.score(_given(attack, 0)), attack.score(_given(attack, 0))
    same = np.array_equal(np.asarray(first), np.asarray(again), equal_nan=True)
    found = "same signals, same scores" if same else "same signals, other scores"
    return Check(
        "deterministic", same, found, "seed what you draw: np.random.default_rng(0) inside the function"
    )


def _order(attack: Attack) -> Check:
    given, members = _given(attack, 0), simulated.game(0, PLANTED).members
    order = np.random.default_rng(0).permutation(members.size)
    plain = np.asarray(attack.score(given), dtype=np.float64)
    moved = np.asarray(attack.score(_permuted(given, attack.needs, order)), dtype=np.float64)
    wrong = int((~np.isclose(moved, plain[order], rtol=1e-9, atol=1e-12, equal_nan=True)).sum())
    found = (
        f"{wrong} of {order.size} scores change when the items change places" if wrong else "does not matter"
    )
    return Check("order of items", not wrong, found, "let no score depend on an item's place")


def _direction(attack: Attack) -> Check:
    value = float(np.mean(_areas(attack, SEEDS, PLANTED)))
    remedy = (
        "it is reversed: return its negative, so that higher = member"
        if value < 1 - LEAST
        else f"at least {LEAST} is expected: higher must mean member"
    )
    return Check("higher = member", value >= LEAST, f"AUC {value:.3f} on planted leaks", remedy)


def _null(attack: Attack) -> Check:
    areas = np.array(_areas(attack, NULLS, 0.0))
    value, error = float(areas.mean()), float(areas.std(ddof=1) / np.sqrt(areas.size))
    found = f"AUC {value:.3f} ± {error:.3f} on {areas.size} games without a leak"
    remedy = "the score separates members without a leak: it must not use who they are, or their places"
    return Check("no leak, no signal", abs(value - 0.5) <= SLACK + 3 * error, found, remedy)


def _cost(attack: Attack) -> Check:
    seconds, loss = _seconds(attack), _seconds(load_attack("loss"))
    found = f"{1e6 * seconds / OWN_ITEMS:.0f} µs an item, {seconds / loss:.1f} times the loss attack"
    extra = [n for n in attack.needs if n in _PASSES]
    passes = f"; asks the model for {', '.join(extra)} too" if extra else "; asks the model for nothing more"
    return Check("cost", seconds / OWN_ITEMS <= SLOW, found + passes, "vectorise it, or need less")


# -- the simulated games -----------------------------------------------------------------------------------

OWN_ITEMS = simulated.OWNERS * simulated.EACH
_PASSES = (
    *("mu", "sigma", "top", "base_mu", "base_sigma", "grad_norm", "alignment"),
    *("lower_logprobs", "prefix_logprobs", "continuations", "population_logprobs"),
)
"""Signals that cost the model more than the log-probabilities of the golds."""


def _given(attack: Attack, seed: int, leak: float = PLANTED) -> Signals:
    return copy.deepcopy(simulated.game(seed, leak).signals.only(attack.needs))


def _areas(attack: Attack, seeds: Sequence[int], leak: float) -> list[float]:
    """AUC of each simulated game; undefined items get the median, as in a run."""
    areas = []
    for seed in seeds:
        members = simulated.game(seed, leak).members
        scores: FloatArray = settle(scores_of(attack, _given(attack, seed, leak)))[0]
        areas.append(auc(scores[members], scores[~members]))
    return areas


def _permuted(signals: Signals, needs: Sequence[str], order: np.ndarray) -> Signals:
    fields: dict[str, Any] = {n: getattr(signals, n) for n in needs}
    for name in needs:
        if not name.startswith("population_"):
            fields[name] = [fields[name][i] for i in order]
    return Signals(**fields)


def _same(one: Sequence[object], other: Sequence[object]) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))  # type: ignore[arg-type]


def _seconds(attack: Attack, repeats: int = 5) -> float:
    """Least time of one game."""
    given, found = _given(attack, 0), []
    for _ in range(repeats):
        start = time.perf_counter()
        attack.score(given)
        found.append(time.perf_counter() - start)
    return max(min(found), 1e-9)
