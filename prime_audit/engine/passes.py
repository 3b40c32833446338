"""Passes through a model, as objects: a worker runs them, and ``plan`` puts one in its place that only counts them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Pass(Generic[T]):
    """One piece of a model's work; subclasses add what its size depends on."""

    work: Callable[[], T]


class Worker:
    """Runs passes on the device."""

    def do(self, one: Pass[T]) -> T:
        """Do one pass."""
        return one.work()
