"""Gradient-free search over merge weights: nevergrad, asked in whole populations where that changes nothing."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

OPTIMIZERS = {"cma": "CMA", "ngopt": "NGOpt", "ngiohtuned": "NgIohTuned", "tbpsa": "TBPSA"}
"""Our word → nevergrad's registry name (paper, Figure 4)."""
BOX = 1.5
"""Merge weights lie in [−1.5, 1.5]."""


class Search:
    """One target's search: ``ask`` a batch of weights, ``tell`` their objectives, until the budget is spent."""

    def __init__(self, optimizer: str, dimension: int, budget: int, seed: int) -> None:
        import nevergrad as ng

        space = ng.p.Array(init=np.zeros(dimension), lower=-BOX, upper=BOX)
        space.random_state = np.random.RandomState(seed % 2**32)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # nevergrad warns of its own defaults; nothing here is the user's doing
            self._optimizer = ng.optimizers.registry[OPTIMIZERS[optimizer]](
                space, budget=budget, num_workers=1
            )
        self._budget, self._asked = budget, list[Any]()
        self.told = 0

    @property
    def done(self) -> bool:
        """Whether the budget is spent."""
        return self.told >= self._budget

    def ask(self) -> list[np.ndarray]:
        """Return the next candidates, float64 [d] each: all that can be asked before the next tell matters."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._asked = [self._optimizer.ask()]
            for _ in range(min(self._queued(), self._budget - self.told - 1)):
                self._asked.append(self._optimizer.ask())
        return [np.array(c.value, dtype=np.float64) for c in self._asked]

    def tell(self, objectives: Sequence[float]) -> None:
        """Report the objectives (higher is better) of the last ``ask``, in its order."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for candidate, value in zip(self._asked, objectives, strict=True):
                self._optimizer.tell(candidate, -float(value))
        self.told += len(self._asked)
        self._asked = []

    def recommendation(self) -> np.ndarray:
        """Return the point the optimizer recommends, float64 [d]; it may never have been evaluated."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.array(self._optimizer.provide_recommendation().value, dtype=np.float64)

    def _queued(self) -> int:
        """How many more candidates the optimizer has drawn already, so that asking them now changes nothing.

        CMA keeps a queue; TBPSA draws a generation from one centre. Anything else decides point by point, and
        some (Cobyla inside NGOpt) would wait for ever for the answer to the first.
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
