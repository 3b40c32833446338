"""Passes through a model, as objects: a worker runs them, and ``plan`` puts one in its place that only counts them."""

from __future__ import annotations

from abc import abstractmethod
from typing import Generic, TypeVar

T = TypeVar("T")


class Pass(Generic[T]):
    """One piece of a model's work. Its fields say how large it is; nothing is computed before :meth:`run`."""

    @abstractmethod
    def run(self) -> T:
        """Do the work and return what it yields."""


class Worker:
    """Runs passes on the device."""

    def do(self, work: Pass[T]) -> T:
        """Do one pass."""
        return work.run()
