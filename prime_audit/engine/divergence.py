"""Training that diverges: detected at the step where it happens, with owner, cause and example.

Once per step, one copy from the device brings each row's loss and each owner's gradient norm, which clipping has
computed anyway. Rows and owners do not mix: the NaN of one owner changes no other owner's numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from prime_audit.engine.trainee import Trainee

TRAINING = "training"
REMEDY = "lower the learning rate, or pass --dtype float32 or bfloat16"
UNTRAINED = (
    "nothing was trained yet, so the model itself overflows or holds NaN: pass --dtype bfloat16 or float32"
)


@dataclass(frozen=True)
class Divergence:
    """One owner's failed training."""

    owner: str
    """As in their job."""
    step: int
    """The optimizer step where it was detected, from 1."""
    steps: int
    """Planned number of steps."""
    cause: str
    """What was not finite: the loss of an example, the gradient, or the weights."""
    what: str = TRAINING
    """What was trained, in words."""

    def line(self, setting: str = "") -> str:
        """Describe it in one line, with what to do; ``setting``: the one with the learning rate."""
        where = f"at step {self.step} of {self.steps}"
        remedy = REMEDY + (f" (--set {setting}=R)" if setting else "")
        if self.what == TRAINING and self.step == 1 and "loss" in self.cause:
            remedy = UNTRAINED
        return f"{self.what} of {self.owner} diverged {where}: {self.cause}; {remedy}"


class Watch:
    """Watches a group of owners who train side by side."""

    def __init__(self, group: Sequence[Trainee], what: str) -> None:
        self._group, self._what = group, what
        self._rows: list[tuple[int, int]] = []
        self._losses: list[Tensor] = []
        self.lost: dict[int, Divergence] = {}
        """By the owner's index in the group."""

    @property
    def over(self) -> bool:
        """Whether every owner has diverged."""
        return len(self.lost) == len(self._group)

    def saw(self, rows: Sequence[tuple[int, int]], losses: Tensor) -> None:
        """Note a pass: (owner's index, number of the example) and loss of each row, [rows] on the device."""
        self._rows += rows
        self._losses.append(losses)

    def state(self) -> dict[str, Any]:
        """Return what it has seen, as JSON data: who diverged, and the rows and losses of the step so far."""
        losses = [loss for own in self._losses for loss in own.tolist()]
        return {
            "lost": [[owner, asdict(own)] for owner, own in self.lost.items()],
            "rows": [[*row, loss] for row, loss in zip(self._rows, losses, strict=True)],
        }

    def load_state(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Continue from a state; ``device``: the losses'."""
        import torch

        self.lost = {int(owner): Divergence(**own) for owner, own in state["lost"]}
        self._rows = [(int(owner), int(number)) for owner, number, _ in state["rows"]]
        self._losses = [torch.tensor([loss for *_, loss in state["rows"]], device=device)]

    def look(self, step: int, grads: Sequence[Tensor], norms: Tensor | None) -> None:
        """Check a step once its gradients, [owners, ...] each, are ready; ``norms``: each owner's, [owners]."""
        import torch

        parts = self._losses + ([norms] if norms is not None else [])
        found = torch.cat([p.detach().float() for p in parts]).tolist() if parts else []
        losses = zip(self._rows, found, strict=False)
        for (owner, number), loss in losses:
            if not isfinite(loss):
                self._lose(owner, step, f"the loss of {self._example(owner, number)} is {loss}")
        for owner, norm in enumerate(found[len(self._rows) :]):
            # A norm may overflow where the numbers behind it do not.
            if not isfinite(norm) and not all(bool(g[owner].isfinite().all()) for g in grads):
                self._lose(owner, step, "the gradient is not finite")
        self._rows, self._losses = [], []

    def judge(self, owner: int, params: Sequence[Tensor], most: float) -> bool:
        """Whether an owner's result is usable: a diverged adapter would break every mixture with it.

        ``params``: the owner's, all A before all B, or gates; ``most``: the largest number of the base's type. No
        entry of BA is larger than the product of the norms.
        """
        norms = [float(p.norm()) for p in params]
        half = len(norms) // 2 if self._what == TRAINING else 0
        sizes = [*norms, *(a * b for a, b in zip(norms[:half], norms[half:], strict=False))]
        if owner not in self.lost and not all(size <= most for size in sizes):  # NaN is not, either
            why = "the weights are not finite, or too large for the base's number format"
            self._lose(owner, len(self._group[owner].plan) - 1, why)
        return owner not in self.lost

    def _lose(self, owner: int, step: int, cause: str) -> None:
        trainee = self._group[owner]
        found = Divergence(trainee.owner, step + 1, len(trainee.plan), cause, self._what)
        self.lost.setdefault(owner, found)

    def _example(self, owner: int, number: int) -> str:
        items = self._group[owner].items
        return f"item {items[number]}" if items else f"example {number + 1}"
