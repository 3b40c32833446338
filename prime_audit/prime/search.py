"""Gradient-free search over merge weights with nevergrad, in whole populations where that gives the same points.

Results are cached, so a known search is not replayed point by point.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from prime_audit.cache.numeric import code_sha256
from prime_audit.engine.batches import Progress, Tick
from prime_audit.engine.memo import Arrays, key_of

if TYPE_CHECKING:
    from prime_audit.engine.engine import Engine

OPTIMIZERS = {"cma": "CMA", "ngopt": "NGOpt", "ngiohtuned": "NgIohTuned", "tbpsa": "TBPSA"}
"""Our name → nevergrad's registry name (paper, Figure 4)."""
BOX = 1.5
"""Bound of merge weights: [−1.5, 1.5]."""
ENTRY = ("weights", "utility", "similarity", "objective")
"""Fields of a trace's entries."""


def _quiet() -> warnings.catch_warnings[None]:
    """Ignore warnings: nevergrad's are of its own defaults, not of the user's doing."""
    return warnings.catch_warnings(action="ignore")


class Search:
    """One target's search: ``ask`` a batch of weights, ``tell`` their objectives, until the budget is spent."""

    def __init__(self, optimizer: str, dimension: int, budget: int, seed: int) -> None:
        import nevergrad as ng

        space = ng.p.Array(init=np.zeros(dimension), lower=-BOX, upper=BOX)
        space.random_state = np.random.RandomState(seed % 2**32)
        with _quiet():
            self._optimizer = ng.optimizers.registry[OPTIMIZERS[optimizer]](
                space, budget=budget, num_workers=1
            )
        self._budget, self._asked = budget, list[Any]()
        self.evaluated = 0

    @property
    def done(self) -> bool:
        """Whether the budget is spent."""
        return self.evaluated >= self._budget

    def ask(self) -> list[np.ndarray]:
        """Return the next candidates, float64 [d] each: all that do not depend on the next ``tell``."""
        with _quiet():
            self._asked = [self._optimizer.ask()]
            for _ in range(min(self._queued(), self._budget - self.evaluated - 1)):
                self._asked.append(self._optimizer.ask())
        return [np.array(c.value, dtype=np.float64) for c in self._asked]

    def tell(self, objectives: Sequence[float]) -> None:
        """Report the objectives (higher is better) of the last ``ask``, in its order."""
        with _quiet():
            for candidate, value in zip(self._asked, objectives, strict=True):
                self._optimizer.tell(candidate, -float(value))
        self.evaluated += len(self._asked)
        self._asked = []

    def recommendation(self) -> np.ndarray:
        """Return the point the optimizer recommends, float64 [d]; it may never have been evaluated."""
        with _quiet():
            return np.array(self._optimizer.provide_recommendation().value, dtype=np.float64)

    def _queued(self) -> int:
        """How many more candidates the optimizer has drawn already, so that asking for them now changes nothing.

        CMA has a queue; TBPSA draws a generation from one centre. Others decide point by point, and some (Cobyla
        inside NGOpt) would wait forever for the answer to the first.
        """
        inner = self._optimizer
        while hasattr(inner, "optim"):
            inner = inner.optim
        if hasattr(inner, "_to_be_asked"):
            return len(inner._to_be_asked)
        if type(inner).__name__ == "_TBPSA":
            size = inner.popsize  # it may resize the generation after every fifth
            return int(min(size.llambda - len(inner.children), 5 * size.llambda - len(size._loss_record)) - 1)
        return 0


@dataclass(frozen=True, eq=False)
class Found:
    """What one target's search found."""

    trace: list[dict[str, Any]]
    """Per candidate: weights, utility, similarity to each sharer, objective."""
    recommendation: np.ndarray
    """The point the optimizer recommends, float64 [d]."""


def searched(
    engine: Engine,
    asked: Iterable[tuple[object, ...]],
    total: int,
    search: Callable[[Tick], list[Found]],
    tick: Tick,
) -> list[Found]:
    """Search, or read cached results, one per target; ``asked`` is all that decides them except model and code.

    ``tick`` counts the ``total`` candidates either way.
    """
    if engine.keeper is None or not total:
        return search(tick)
    progress = Progress(tick)
    key = key_of(engine.base, "search", code_sha256("search"), asked)
    found = _unpacked(engine.keeper.arrays(key, lambda: _packed(search(progress))))
    progress.finish(total)
    return found


def _packed(found: Sequence[Found]) -> Arrays:
    return {
        f"{number:04d}.{name}": np.array(column, dtype=np.float64)
        for number, one in enumerate(found)
        for name, column in [
            *((name, [entry[name] for entry in one.trace]) for name in ENTRY),
            ("recommendation", one.recommendation),
        ]
    }


def _unpacked(arrays: Arrays) -> list[Found]:
    found = []
    for number in range(len(arrays) // (len(ENTRY) + 1)):
        columns = [arrays[f"{number:04d}.{name}"].tolist() for name in ENTRY]
        trace = [dict(zip(ENTRY, row, strict=True)) for row in zip(*columns, strict=True)]
        found.append(Found(trace, arrays[f"{number:04d}.recommendation"]))
    return found
