"""Training many owners' adapters, or gates, in one pass over the shared frozen base.

Rows of different owners share a batch; each owner keeps her own AdamW, gradient cut, schedule and step count,
so that the result is the one she would have got alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from prime_audit.engine.adapters import Adapter
from prime_audit.engine.bank import AdapterBank
from prime_audit.engine.base import Base
from prime_audit.engine.batches import Tick, nothing
from prime_audit.engine.branches import GateBranch, LoraBranch, TrainingBranch
from prime_audit.engine.codec import Encoded, pad_left, positions
from prime_audit.engine.privacy import Privacy
from prime_audit.engine.private import PrivateBranch, PrivateTrainee
from prime_audit.engine.recipe import Job as Job
from prime_audit.engine.recipe import LoraShape as LoraShape
from prime_audit.engine.recipe import Recipe as Recipe
from prime_audit.engine.recipe import count_steps as count_steps
from prime_audit.engine.trainee import Trainee, fresh_lora
from prime_audit.seeds import seed_of

T = TypeVar("T", bound=Trainee)
Row = tuple[int, Encoded]
"""(index among the step's trainees, example)."""
BranchMaker = Callable[[Sequence[int], Sequence[T], Sequence[int]], TrainingBranch]
"""(trainee index of each row, the step's trainees, tokens of each row) → the branch for one pass."""
Weigher = Callable[[Sequence[Row]], list[float]]
"""A step's rows → what the loss of one gold token counts in each."""


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
) -> dict[str, Adapter]:
    """Train one LoRA per job; ``tick`` counts optimizer steps (see :func:`count_steps`).

    ``tokens`` bounds the padded tokens of one forward and backward pass; larger batches accumulate gradients.

    With ``privacy`` each adapter has what :func:`~prime_audit.engine.privacy.account` says of its number of
    examples: batches are Poisson samples, an example's loss is the mean over its own gold tokens, its gradient is
    cut to ``privacy.clip`` (``recipe.clip`` has no say), and the owner's noise is added before AdamW sees it.
    """
    scaling = shape.alpha / shape.rank
    params = [fresh_lora(base, shape, seed_of(seed, job.owner, "init")) for job in jobs]
    trainees: Sequence[Trainee]
    if privacy:
        trainees = private = [
            PrivateTrainee(base, job, recipe, own, seed, privacy)
            for job, own in zip(jobs, params, strict=True)
        ]

        def cut_rows(
            owners: Sequence[int], active: Sequence[PrivateTrainee], lengths: Sequence[int]
        ) -> PrivateBranch:
            return PrivateBranch(base, owners, active, lengths, scaling, shape.dropout)

        _train(base, private, cut_rows, tokens, tick, _example_mean)
    else:
        trainees = plain = [
            Trainee(base, job, recipe, own, seed) for job, own in zip(jobs, params, strict=True)
        ]

        def rows(owners: Sequence[int], active: Sequence[Trainee], lengths: Sequence[int]) -> LoraBranch:
            return LoraBranch(base, owners, active, lengths, scaling, shape.dropout)

        _train(base, plain, rows, tokens, tick)
    return {t.owner: _adapter(base, t.params, scaling) for t in trainees}


def _adapter(base: Base, params: Sequence[Tensor], scaling: float) -> Adapter:
    names = tuple(site.name for site in base.sites)
    factors = tuple(p.detach().cpu() for p in params)
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
) -> dict[str, tuple[Tensor, ...]]:
    """Train Per-Pcs gates (Tan et al. 2024a): per owner and site a vector g [d_in], her bank adapter frozen."""
    trainees = []
    for job in jobs:
        gates = [nn.Parameter(torch.zeros(site.d_in, device=base.device)) for site in base.sites]
        trainees.append(Trainee(base, job, recipe, gates, seed))

    def branch(owners: Sequence[int], active: Sequence[Trainee], lengths: Sequence[int]) -> GateBranch:
        return GateBranch(bank, owners, active)

    _train(base, trainees, branch, tokens, tick)
    return {
        job.owner: tuple(p.detach().cpu() for p in t.params) for job, t in zip(jobs, trainees, strict=True)
    }


def _token_mean(rows: Sequence[Row]) -> list[float]:
    """1 / (gold tokens in the owner's batch): her loss is the mean over her batch's gold tokens."""
    total: dict[int, int] = {}
    for owner, example in rows:
        total[owner] = total.get(owner, 0) + example.gold
    return [1.0 / total[owner] for owner, _ in rows]


def _example_mean(rows: Sequence[Row]) -> list[float]:
    """1 / (gold tokens of the example): what one example does to the gradient must not depend on any other."""
    return [1.0 / example.gold for _, example in rows]


def _train(
    base: Base,
    trainees: Sequence[T],
    branch: BranchMaker[T],
    tokens: int,
    tick: Tick,
    weigh: Weigher = _token_mean,
) -> None:
    for group in _groups(trainees, tokens):
        for step in range(max(len(t.plan) for t in group)):
            active = [t for t in group if step < len(t.plan)]
            rows = [(o, t.examples[i]) for o, t in enumerate(active) for i in t.plan[step]]
            weights = weigh(rows)
            for part in _passes(rows, tokens):
                _backward(base, active, [rows[i] for i in part], [weights[i] for i in part], branch)
            for trainee in active:
                trainee.step()
            tick(len(active))
        for trainee in group:
            trainee.check()


def _groups(trainees: Sequence[T], tokens: int) -> Iterator[Sequence[T]]:
    """Owners trained side by side: as many as fit one pass, at least one."""
    width = max((len(e.ids) for t in trainees for e in t.examples), default=1)
    batch = max((len(step) for t in trainees for step in t.plan), default=1)
    many = max(1, tokens // (width * batch))
    for i in range(0, len(trainees), many):
        yield trainees[i : i + many]


def _passes(rows: Sequence[Row], tokens: int) -> Iterator[list[int]]:
    """Cut a step's rows into forward passes within the budget, in order (owners stay together)."""
    part: list[int] = []
    width = 0
    for i, (_, example) in enumerate(rows):
        if part and max(width, len(example.ids)) * (len(part) + 1) > tokens:
            yield part
            part, width = [], 0
        part.append(i)
        width = max(width, len(example.ids))
    if part:
        yield part


def _backward(
    base: Base,
    active: Sequence[T],
    rows: Sequence[Row],
    weights: Sequence[float],
    branch: BranchMaker[T],
) -> None:
    examples = [e for _, e in rows]
    base.spent.requests += len(examples)
    base.spent.prompt_tokens += sum(len(e.ids) for e in examples)
    ids, mask = pad_left([e.ids for e in examples], base.codec.pad, base.device)
    most = max(e.gold for e in examples)
    beside = branch([o for o, _ in rows], active, [len(e.ids) for e in examples])
    with base.mounted(beside):
        out = base.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions(mask),
            use_cache=False,
            logits_to_keep=most + 1,
        )
    logits = out.logits[:, -most - 1 : -1].float()
    nll = nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, -most:], reduction="none")
    golds = torch.tensor([e.gold for e in examples], device=base.device)
    is_gold = torch.arange(most, device=base.device)[None] >= most - golds[:, None]
    scale = torch.tensor(weights, device=base.device)[:, None]
    (nll * is_gold * scale).sum().backward()  # type: ignore[no-untyped-call]
    beside.finish()
