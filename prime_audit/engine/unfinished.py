"""A training between two passes, as arrays and back: an interrupted one goes on to the same adapters, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from prime_audit.engine.divergence import Divergence, Watch
from prime_audit.engine.memo import Arrays, of_words, words
from prime_audit.engine.stack import Stack
from prime_audit.engine.trainee import Trainee

T = TypeVar("T", bound=Trainee)


@dataclass
class Group(Generic[T]):
    """Owners who train side by side, and how far they are."""

    members: Sequence[T]
    stack: Stack
    watch: Watch
    step: int = 0
    """The step that they are in."""
    done: set[int] = field(default_factory=set)
    """Rows of this step whose gradients are in the sums."""

    def ticked(self, total: int) -> int:
        """Count the owners whose step counts as done by the share of its rows, all but the last."""
        active = sum(self.step < len(t.plan) for t in self.members)
        return min(active - 1, active * len(self.done) // max(1, total))


@dataclass
class Finished:
    """Owners whose training is over."""

    params: dict[str, list[Tensor]] = field(default_factory=dict)
    lost: list[Divergence] = field(default_factory=list)


def state_of(trainees: Sequence[T], finished: Finished, group: Group[T]) -> Arrays:
    """Write a training; owners are named by their number among ``trainees``."""
    number = {t.owner: n for n, t in enumerate(trainees)}
    found = {"group": words([number[t.owner] for t in group.members])}
    found["at"] = words({"step": group.step, "done": sorted(group.done)})
    found["watch"] = words(group.watch.state())
    found["lost"] = words([asdict(one) for one in finished.lost])
    tensors = {f"stack.{name}": t for name, t in group.stack.state().items()}
    for owner, params in finished.params.items():
        tensors |= {f"done.{number[owner]}.{i:04d}": p for i, p in enumerate(params)}
    for n, t in enumerate(group.members):
        tensors |= {f"noise.{n}": t.noise.get_state()} if t.noise is not None else {}
    return found | {name: t.detach().cpu().numpy() for name, t in tensors.items()}


def restored(
    state: Arrays, trainees: Sequence[T], fresh: Callable[[Sequence[T]], Group[T]], device: torch.device
) -> tuple[Finished, Group[T]]:
    """Read a training back; ``fresh`` makes a group at its start. Any exception where it is of another training."""
    tensors = {name: torch.from_numpy(np.array(values)) for name, values in state.items()}
    finished = Finished(lost=[Divergence(**one) for one in of_words(state, "lost")])
    for name in sorted(name for name in tensors if name.startswith("done.")):
        owner = trainees[int(name.split(".")[1])].owner
        finished.params.setdefault(owner, []).append(tensors[name].to(device))
    group = fresh([trainees[n] for n in of_words(state, "group")])
    front = "stack."
    group.stack.load_state({n.removeprefix(front): t for n, t in tensors.items() if n.startswith(front)})
    group.watch.load_state(of_words(state, "watch"), device)
    at = of_words(state, "at")
    group.step, group.done = int(at["step"]), set(at["done"])
    for n, t in enumerate(group.members):
        if t.noise is not None:
            t.noise.set_state(tensors[f"noise.{n}"])
    return finished, group
