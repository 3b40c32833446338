"""Training many owners' adapters, or gates, in one pass over the shared frozen base.

Rows of different owners share a pass, and one owner's rows may be spread over several. Each owner has their own
gradient clipping, schedule, step count and dropout, so the result is that of training alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from prime_audit.engine.bank import AdapterBank
from prime_audit.engine.base import Base
from prime_audit.engine.batches import Tick, batches, nothing
from prime_audit.engine.branches import Frozen, GateBranch, LoraBranch, TrainingBranch
from prime_audit.engine.codec import Encoded, gold_places
from prime_audit.engine.divergence import TRAINING, Divergence, Watch
from prime_audit.engine.draws import Draws, Visit
from prime_audit.engine.lora import Adapter
from prime_audit.engine.memo import NOWHERE, Partial
from prime_audit.engine.memory import free_bytes
from prime_audit.engine.passes import Pass
from prime_audit.engine.privacy import Privacy
from prime_audit.engine.private import PrivateBranch, PrivateTrainee
from prime_audit.engine.recipe import Job, LoraShape, Recipe
from prime_audit.engine.stack import Stack, clip
from prime_audit.engine.trainee import Trainee, fresh_lora
from prime_audit.engine.unfinished import Finished, Group, restored, state_of
from prime_audit.errors import PartError
from prime_audit.seeds import seed_of

T = TypeVar("T", bound=Trainee)


class Row(NamedTuple):
    """One example of one step."""

    owner: int
    """The owner's index in the group."""
    number: int
    """The example's, among the owner's."""
    example: Encoded


BranchMaker = Callable[[Sequence[T], Sequence[Tensor], Tensor, "Draws | None"], TrainingBranch]
"""(group, stacked parameters, owner of each row, dropout) → the branch for one pass."""
Weigher = Callable[[Sequence[Row]], list[float]]
"""A step's rows → the weight of one gold token's loss in each."""
Settler = Callable[[Sequence[T], Sequence[Tensor], int], "Tensor | None"]
"""(group, gradients [owners, ...] each, step) → prepares the gradients for AdamW in place; returns their norms,
[owners], where it computes them."""


def train_adapters(
    base: Base,
    jobs: Sequence[Job],
    shape: LoraShape,
    recipe: Recipe,
    *,
    seed: int,
    tokens: int,
    tick: Tick = nothing,
    privacy: Privacy | None = None,
    lost: list[Divergence] | None = None,
    onto: Frozen | None = None,
    so_far: Partial = NOWHERE,
) -> dict[str, Adapter]:
    """Train one LoRA per job; ``tick`` counts optimizer steps (see :func:`count_steps`), during a step by its share.

    ``tokens`` bounds the padded tokens of one forward and backward pass; larger batches accumulate gradients.

    With ``privacy`` each adapter has the guarantee of :func:`~prime_audit.engine.privacy.account`: batches are Poisson
    samples, an example's loss is the mean over its own gold tokens, its gradient is clipped to ``privacy.clip``
    (``recipe.clip`` is ignored), and the owner's noise is added before AdamW.

    An owner whose training diverges has no adapter and is added to ``lost``; without ``lost`` this raises PartError.
    Other owners' adapters do not change.

    ``onto``: what each owner's adapter is trained on top of (without ``privacy``); None: the base alone.

    ``so_far``: the place of the training's state. It goes on from there, to the same adapters bit for bit.
    """
    scaling = shape.alpha / shape.rank

    def start(owner: str) -> list[nn.Parameter]:
        return fresh_lora(base, shape, seed_of(seed, owner, "init"))

    options: dict[str, Any] = {"weight_decay": recipe.weight_decay, "tokens": tokens, "tick": tick}
    options |= {"dropout": shape.dropout, "lost": lost, "so_far": so_far}
    if privacy:
        bound = privacy.clip
        trained = _Loop[PrivateTrainee](
            base=base,
            start=start,
            branch=lambda _, params, rows, draws: PrivateBranch(params, rows, scaling, draws, bound),
            weigh=_example_mean,
            settle=PrivateTrainee.settle,
            **options,
        ).run([PrivateTrainee(base, job, recipe, seed, privacy) for job in jobs])
    else:

        def beside(
            group: Sequence[Trainee], params: Sequence[Tensor], rows: Tensor, draws: Draws | None
        ) -> LoraBranch:
            below = onto.branch([group[o].owner for o in rows.tolist()]) if onto else None
            return LoraBranch(params, rows, scaling, draws, below)

        trained = _Loop[Trainee](
            base=base,
            start=start,
            branch=beside,
            weigh=_token_mean,
            settle=_clip,
            **options,
        ).run([Trainee(base, job, recipe, seed) for job in jobs])
    return {owner: _adapter(base, params, scaling) for owner, params in trained.items()}


def _adapter(base: Base, params: Sequence[Tensor], scaling: float) -> Adapter:
    names = tuple(site.name for site in base.sites)
    factors = tuple(p.cpu().clone() for p in params)
    return Adapter(names, factors[: len(names)], factors[len(names) :], scaling)


def train_gates(
    base: Base,
    bank: AdapterBank,
    jobs: Sequence[Job],
    recipe: Recipe,
    *,
    seed: int,
    tokens: int,
    tick: Tick = nothing,
    so_far: Partial = NOWHERE,
) -> dict[str, tuple[Tensor, ...]]:
    """Train Per-Pcs gates (Tan et al. 2024a): per owner and site a vector g [d_in]; adapters are frozen."""

    def start(_: str) -> list[nn.Parameter]:
        return [nn.Parameter(torch.zeros(site.d_in, device=base.device)) for site in base.sites]

    def gated(
        group: Sequence[Trainee], params: Sequence[Tensor], rows: Tensor, _: Draws | None
    ) -> GateBranch:
        return GateBranch(bank, [t.owner for t in group], params, rows)

    loop = _Loop[Trainee](
        base=base,
        start=start,
        branch=gated,
        weigh=_token_mean,
        settle=_clip,
        weight_decay=recipe.weight_decay,
        tokens=tokens,
        tick=tick,
        kind="gates",
        so_far=so_far,
    )
    found = loop.run([Trainee(base, job, recipe, seed) for job in jobs])
    return {owner: tuple(p.cpu().clone() for p in params) for owner, params in found.items()}


def _clip(group: Sequence[Trainee], grads: Sequence[Tensor], _: int) -> Tensor:
    return clip(grads, [t.clip for t in group])


def _token_mean(rows: Sequence[Row]) -> list[float]:
    """1 / (gold tokens in the owner's batch): an owner's loss is the mean over the batch's gold tokens."""
    total: dict[int, int] = {}
    for row in rows:
        total[row.owner] = total.get(row.owner, 0) + row.example.gold
    return [1.0 / total[row.owner] for row in rows]


def _example_mean(rows: Sequence[Row]) -> list[float]:
    """1 / (gold tokens of the example): an example's gradient must not depend on other examples."""
    return [1.0 / row.example.gold for row in rows]


@dataclass(frozen=True)
class Learn(Pass[None]):
    """One pass of training, or one optimizer step."""

    kind: str
    """What a pass trains, ``train`` for adapters or ``gates``; ``step`` for an optimizer step."""
    units: int
    """Padded tokens of a pass; owners in a step."""


@dataclass(kw_only=True)
class _Loop(Generic[T]):
    """The training loop: groups of owners, their steps, and each step's rows split into passes of similar length."""

    base: Base
    start: Callable[[str], list[nn.Parameter]]
    branch: BranchMaker[T]
    weigh: Weigher
    settle: Settler[T]
    weight_decay: float
    tokens: int
    tick: Tick
    dropout: float = 0.0
    kind: str = "train"
    lost: list[Divergence] | None = None
    so_far: Partial = NOWHERE

    def run(self, trainees: Sequence[T]) -> dict[str, list[Tensor]]:
        """Train all owners; owner → parameters, in the order given, without those whose training diverged."""
        device = self.base.device
        left = self.so_far.read(lambda state: restored(state, trainees, self._fresh, device))
        finished, group = left or (Finished(), None)
        known = {*finished.params, *(one.owner for one in finished.lost)}
        self._tell(sum(len(t.plan) for t in trainees if t.owner in known))
        if group is not None:
            known |= {t.owner for t in group.members}
            self._run_group(group, finished, trainees)
        for members in self._groups([t for t in trainees if t.owner not in known]):
            self._run_group(self._fresh(members), finished, trainees)
        if self.lost is not None:
            self.lost += finished.lost
        return {t.owner: finished.params[t.owner] for t in trainees if t.owner in finished.params}

    def _groups(self, trainees: Sequence[T]) -> Iterator[Sequence[T]]:
        """Group owners to train side by side: as many as fit in a quarter of the free memory, longest plans first."""
        # Parameter, gradient, two moments and a copy, of 4 bytes each.
        each = 20 * sum(p.numel() for p in self.start("")) + 1
        many = max(1, free_bytes(self.base.device) // 4 // each)
        ranked = sorted(trainees, key=lambda t: -len(t.plan))
        for i in range(0, len(ranked), many):
            yield ranked[i : i + many]

    def _fresh(self, members: Sequence[T]) -> Group[T]:
        """Return a group at the start of its training."""
        what = TRAINING if self.kind == "train" else f"training of the {self.kind}"
        stack = Stack([self.start(t.owner) for t in members], self.weight_decay)
        return Group(members, stack, Watch(members, what))

    def _run_group(self, group: Group[T], finished: Finished, trainees: Sequence[T]) -> None:
        """Train a group from where it is to its end."""
        members, stack, watch = group.members, group.stack, group.watch

        def keep() -> None:
            self.so_far.write(lambda: state_of(trainees, finished, group))

        self._tell(sum(min(group.step, len(t.plan)) for t in members))
        for step in range(group.step, max(len(t.plan) for t in members)):
            ticked = self._step(group, keep)
            self._update(stack, members, step, watch)
            self._tell(sum(step < len(t.plan) for t in members) - ticked)
            if watch.over:
                break
            group.step, group.done = step + 1, set()
            keep()
        # Diverged owners stay in the passes: without their rows the others' batches, and so last bits, would change.
        most = torch.finfo(self.base.dtype).max
        sound = {t.owner: own for o, t in enumerate(members) if watch.judge(o, own := stack.of(o), most)}
        self._require_collected(watch)
        finished.params |= sound
        finished.lost += [watch.lost[o] for o in sorted(watch.lost)]

    def _tell(self, units: int) -> None:
        if units:
            self.tick(units)

    def _require_collected(self, watch: Watch) -> None:
        """Raise PartError at once where an owner diverged and the caller does not collect it."""
        if self.lost is None and watch.lost:
            raise PartError(next(iter(watch.lost.values())).line())

    def _step(self, group: Group[T], keep: Callable[[], None]) -> int:
        """Add up the gradients of a step's rows, in passes of similar length; how much of the step was ticked."""
        step = group.step
        active = [(o, t) for o, t in enumerate(group.members) if step < len(t.plan)]
        rows = [Row(o, n, t.examples[n]) for o, t in active for n in t.plan[step]]
        weights = self.weigh(rows)
        ticked = group.ticked(len(rows))
        self._tell(ticked)

        def length(i: int) -> int:
            return len(rows[i].example.ids)

        def work(part: Sequence[int]) -> None:
            nonlocal ticked
            own = [rows[i] for i in part], [weights[i] for i in part]
            self._pass(group.stack, group.members, step, *own, group.watch)
            group.done.update(part)
            keep()
            more = group.ticked(len(rows)) - ticked if len(group.done) < len(rows) else 0
            ticked += more
            self._tell(more)

        room = self.base.room(self.tokens, "train")
        for part in batches(
            range(len(rows)), group=lambda _: 0, length=length, tokens=room, worth=self.base.worth
        ):
            if left := [i for i in part if i not in group.done]:
                self.base.fits["train"].run(work, left, length)
        return ticked

    def _pass(
        self,
        stack: Stack,
        group: Sequence[T],
        step: int,
        rows: Sequence[Row],
        weights: Sequence[float],
        watch: Watch,
    ) -> None:
        """Add the gradients of these rows to the stack's: all of them, or none where memory runs out."""
        base, examples = self.base, [row.example for row in rows]

        def learn() -> None:
            owners = torch.tensor([row.owner for row in rows], device=base.device)
            beside = self.branch(group, stack.params, owners, self._draws(group, rows, step))
            loss, each = _loss(base, beside, examples, weights)
            beside.collect(torch.autograd.grad(loss, beside.leaves(), allow_unused=True), stack.grads)
            watch.saw([(row.owner, row.number) for row in rows], each)

        lengths = [len(e.ids) for e in examples]
        base.worker.do(Learn(learn, self.kind, len(rows) * max(lengths)))
        base.spent.requests += len(rows)
        base.spent.prompt_tokens += sum(lengths)

    def _update(self, stack: Stack, group: Sequence[T], step: int, watch: Watch) -> None:
        """Move every owner by a step's gradients."""

        def move() -> None:
            watch.look(step, stack.grads, self.settle(group, stack.grads, step))
            self._require_collected(watch)
            stack.step([t.rate(step) for t in group])

        self.base.worker.do(Learn(move, "step", len(group)))

    def _draws(self, group: Sequence[T], rows: Sequence[Row], step: int) -> Draws | None:
        if not self.dropout:
            return None
        visits = [
            Visit(group[r.owner].dropout, step, r.number, len(r.example.ids), r.example.gold) for r in rows
        ]
        return Draws(visits, self.dropout, self.base.device)


def _loss(
    base: Base, beside: TrainingBranch, examples: Sequence[Encoded], weights: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Weighted sum of the gold tokens' negative log-probabilities, and each example's plain sum, [examples]."""
    ids, options = base.padded([e.ids for e in examples])
    rows, columns = gold_places(examples)
    with base.mounted(beside):
        logits = base.logits_at(ids, rows, columns, **options)
    golds = torch.tensor([t for e in examples for t in e.ids[len(e.ids) - e.gold :]], device=base.device)
    nll = nn.functional.cross_entropy(logits.float(), golds, reduction="none")
    scale = [w for e, w in zip(examples, weights, strict=True) for _ in range(e.gold)]
    each = nll.new_zeros(len(examples)).index_add_(0, torch.tensor(rows, device=base.device), nll.detach())
    return (nll * torch.tensor(scale, device=base.device)).sum(), each
