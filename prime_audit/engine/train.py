"""Training many owners' adapters, or gates, in one pass over the shared frozen base.

Rows of different owners share a batch; each owner keeps her own AdamW, gradient cut, schedule and step count,
so that the result is the one she would have got alone (DESIGN, "the same way backwards").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from prime_audit.engine.adapters import Adapter
from prime_audit.engine.bank import AdapterBank
from prime_audit.engine.base import Base, Branch
from prime_audit.engine.batches import Tick, nothing
from prime_audit.engine.codec import Encoded, pad_left, positions
from prime_audit.errors import UserError
from prime_audit.seeds import rng_of, seed_of


@dataclass(frozen=True)
class LoraShape:
    """The adapters' form (PROTOCOL §3)."""

    rank: int = 8
    alpha: float = 8.0
    dropout: float = 0.05
    modules: tuple[str, ...] = ()
    """Names of the projections that are trained; the others stay without effect. Empty: all."""


@dataclass(frozen=True)
class Recipe:
    """How to train: Table 7 and PROTOCOL §3."""

    batch: int
    lr: float
    epochs: int = 0
    """Passes over the owner's examples; 0 where ``steps`` decides."""
    steps: int = 0
    """Optimizer steps, cycling through the examples; 0 where ``epochs`` decides."""
    clip: float = 1.0
    """Largest gradient norm of one owner."""
    weight_decay: float = 0.01
    schedule: str = "cosine"
    """``cosine`` or ``linear``, to 0."""
    warmup: float = 0.0
    """Share of the steps spent warming up."""

    def __post_init__(self) -> None:
        if self.batch < 1 or (self.epochs > 0) == (self.steps > 0):
            raise ValueError(f"{self}: needs a batch, and either epochs or steps")


@dataclass(frozen=True)
class Job:
    """One owner's training set."""

    owner: str
    examples: tuple[tuple[str, str], ...]
    """(prompt, gold) pairs."""


class _Trainee:
    """One owner in training: her parameters, optimizer, schedule and the order of her examples."""

    def __init__(self, base: Base, job: Job, recipe: Recipe, params: list[nn.Parameter], seed: int) -> None:
        from transformers import get_scheduler

        if not job.examples:
            raise ValueError(f"{job.owner} has no examples to train on")
        self.owner = job.owner
        self.examples = [base.codec.example(prompt, gold) for prompt, gold in job.examples]
        self.params = params
        self.clip = recipe.clip
        self.noise = torch.Generator(base.device).manual_seed(seed_of(seed, job.owner, "dropout"))
        order = rng_of(seed, job.owner, "order")
        self.plan = _plan(len(self.examples), recipe, order)
        self.optimizer = torch.optim.AdamW(
            params, recipe.lr, betas=(0.9, 0.95), weight_decay=recipe.weight_decay
        )
        warm = math.ceil(recipe.warmup * len(self.plan))
        self.schedule = get_scheduler(recipe.schedule, self.optimizer, warm, len(self.plan))

    def step(self) -> None:
        """Cut this owner's gradient, step, and move her schedule on."""
        nn.utils.clip_grad_norm_(self.params, self.clip)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()

    def check(self) -> None:
        """Raise UserError where training diverged: such an adapter would poison every mixture it enters."""
        if not all(bool(p.isfinite().all()) for p in self.params):
            raise UserError(
                f"training of {self.owner} diverged; give a lower rate, or --dtype float32 or bfloat16"
            )


def _plan(count: int, recipe: Recipe, order: np.random.Generator) -> list[list[int]]:
    """List each step's example indices: shuffled epochs, cut into batches."""
    per_epoch = math.ceil(count / recipe.batch)
    steps = recipe.steps or recipe.epochs * per_epoch
    plan: list[list[int]] = []
    while len(plan) < steps:
        shuffled = order.permutation(count).tolist()
        plan += [shuffled[i : i + recipe.batch] for i in range(0, count, recipe.batch)]
    return plan[:steps]


BranchMaker = Callable[[Sequence[int], Sequence[_Trainee], Sequence[int]], Branch]
"""(trainee index of each row, the step's trainees, tokens of each row) → the branch for one pass."""


def train_adapters(
    base: Base,
    jobs: Sequence[Job],
    shape: LoraShape,
    recipe: Recipe,
    *,
    seed: int,
    tokens: int,
    tick: Tick = nothing,
) -> dict[str, Adapter]:
    """Train one LoRA per job; ``tick`` counts optimizer steps (see :func:`count_steps`).

    ``tokens`` bounds the padded tokens of one forward and backward pass; larger batches accumulate gradients.
    """
    trainees = [
        _Trainee(base, job, recipe, _fresh_lora(base, shape, seed_of(seed, job.owner, "init")), seed)
        for job in jobs
    ]
    scaling = shape.alpha / shape.rank

    def branch(owners: Sequence[int], active: Sequence[_Trainee], lengths: Sequence[int]) -> Branch:
        return _LoraBranch(base, owners, active, lengths, scaling, shape.dropout)

    _train(base, trainees, branch, tokens, tick)
    names = tuple(site.name for site in base.sites)
    half = len(names)
    return {
        job.owner: Adapter(
            names,
            tuple(p.detach().cpu() for p in t.params[:half]),
            tuple(p.detach().cpu() for p in t.params[half:]),
            scaling,
        )
        for job, t in zip(jobs, trainees, strict=True)
    }


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
    """Train Per-Pcs gates (PROTOCOL §4): per owner and site a vector g [d_in], her bank adapter frozen."""
    trainees = []
    for job in jobs:
        gates = [nn.Parameter(torch.zeros(site.d_in, device=base.device)) for site in base.sites]
        trainees.append(_Trainee(base, job, recipe, gates, seed))

    def branch(owners: Sequence[int], active: Sequence[_Trainee], lengths: Sequence[int]) -> Branch:
        return _GateBranch(bank, owners, active)

    _train(base, trainees, branch, tokens, tick)
    return {
        job.owner: tuple(p.detach().cpu() for p in t.params) for job, t in zip(jobs, trainees, strict=True)
    }


def count_steps(jobs: Sequence[Job], recipe: Recipe) -> int:
    """How often ``tick`` will count: the optimizer steps of all owners together."""
    return sum(recipe.steps or recipe.epochs * math.ceil(len(job.examples) / recipe.batch) for job in jobs)


def _train(base: Base, trainees: list[_Trainee], branch: BranchMaker, tokens: int, tick: Tick) -> None:
    for group in _groups(trainees, tokens):
        for step in range(max(len(t.plan) for t in group)):
            active = [t for t in group if step < len(t.plan)]
            rows = [(o, t.examples[i]) for o, t in enumerate(active) for i in t.plan[step]]
            weights = _row_weights(rows)
            for part in _passes(rows, tokens):
                _backward(base, active, [rows[i] for i in part], [weights[i] for i in part], branch)
            for trainee in active:
                trainee.step()
            tick(len(active))
        for trainee in group:
            trainee.check()


def _groups(trainees: list[_Trainee], tokens: int) -> Iterator[list[_Trainee]]:
    """Owners trained side by side: as many as fit one pass, at least one."""
    width = max((len(e.ids) for t in trainees for e in t.examples), default=1)
    batch = max((len(step) for t in trainees for step in t.plan), default=1)
    many = max(1, tokens // (width * batch))
    for i in range(0, len(trainees), many):
        yield trainees[i : i + many]


def _row_weights(rows: Sequence[tuple[int, Encoded]]) -> list[float]:
    """1 / (gold tokens in the owner's batch): her loss is the mean over her batch's gold tokens."""
    total: dict[int, int] = {}
    for owner, example in rows:
        total[owner] = total.get(owner, 0) + example.gold
    return [1.0 / total[owner] for owner, _ in rows]


def _passes(rows: Sequence[tuple[int, Encoded]], tokens: int) -> Iterator[list[int]]:
    """Cut a step's rows into forward passes within the budget, in order (owners stay together)."""
    part: list[int] = []
    width = 0
    for i, (_, example) in enumerate(rows):
        if part and max(width, len(example.ids)) * (len(part) + 1) > tokens:
            yield part
            part, width = [], 0
        part.append(i)
        width = max(width, len(example.ids))
    yield part


def _backward(
    base: Base,
    active: Sequence[_Trainee],
    rows: Sequence[tuple[int, Encoded]],
    weights: Sequence[float],
    branch: BranchMaker,
) -> None:
    examples = [e for _, e in rows]
    base.spent.requests += len(examples)
    base.spent.prompt_tokens += sum(len(e.ids) for e in examples)
    ids, mask = pad_left([e.ids for e in examples], base.codec.pad, base.device)
    most = max(e.gold for e in examples)
    with base.mounted(branch([o for o, _ in rows], active, [len(e.ids) for e in examples])):
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


def _fresh_lora(base: Base, shape: LoraShape, seed: int) -> list[nn.Parameter]:
    """PEFT's initialisation: A Kaiming-uniform with a = √5, B zero. All A first, then all B."""
    noise = torch.Generator().manual_seed(seed)
    down, up = [], []
    for site in base.sites:
        trained = not shape.modules or site.name.rpartition(".")[2] in shape.modules
        a = (torch.rand(shape.rank, site.d_in, generator=noise) * 2 - 1) / math.sqrt(site.d_in)
        down.append(nn.Parameter(a.to(base.device), requires_grad=trained))
        up.append(
            nn.Parameter(torch.zeros(site.d_out, shape.rank, device=base.device), requires_grad=trained)
        )
    return down + up


class _LoraBranch:
    """Each row through its owner's A and B, with dropout drawn from the owner's own generator."""

    def __init__(
        self,
        base: Base,
        owners: Sequence[int],
        trainees: Sequence[_Trainee],
        lengths: Sequence[int],
        scaling: float,
        dropout: float,
    ) -> None:
        self._rows = torch.tensor(list(owners), device=base.device)
        self._half = len(base.sites)
        self._trainees, self._scaling, self._dropout = trainees, scaling, dropout
        self._owners, self._lengths = owners, lengths

    def select(self, rows: Tensor) -> None:
        raise NotImplementedError("training keeps its rows")

    def __call__(self, site: int, x: Tensor) -> Tensor:
        a = torch.stack([t.params[site] for t in self._trainees])[self._rows]
        b = torch.stack([t.params[self._half + site] for t in self._trainees])[self._rows]
        x = x.to(a.dtype)
        if self._dropout:
            x = x * self._keep(x)
        return torch.bmm(torch.bmm(x, a.transpose(1, 2)), b.transpose(1, 2)) * self._scaling

    def _keep(self, x: Tensor) -> Tensor:
        """Inverted dropout; an owner's draws depend on her own rows only, whoever shares the batch."""
        keep = torch.ones_like(x)
        for owner in dict.fromkeys(self._owners):
            rows = [i for i, o in enumerate(self._owners) if o == owner]
            long = max(self._lengths[i] for i in rows)
            drawn = torch.rand(
                len(rows),
                long,
                x.shape[-1],
                generator=self._trainees[owner].noise,
                device=x.device,
                dtype=x.dtype,
            )
            keep[rows, x.shape[1] - long :] = (drawn >= self._dropout).to(x.dtype) / (1 - self._dropout)
        return keep


class _GateBranch:
    """Each row through its owner's frozen adapter, whose input is x·sigmoid(x·g)."""

    def __init__(self, bank: AdapterBank, owners: Sequence[int], trainees: Sequence[_Trainee]) -> None:
        self._bank = bank
        self._names = [t.owner for t in trainees]
        self._rows = torch.tensor(list(owners), device=bank.base.device)
        self._trainees = trainees

    def select(self, rows: Tensor) -> None:
        raise NotImplementedError("training keeps its rows")

    def __call__(self, site: int, x: Tensor) -> Tensor:
        gate = torch.stack([t.params[site] for t in self._trainees])[self._rows]
        a, b = self._bank.factors(site, self._names)
        opened = x * torch.sigmoid(torch.einsum("ntd,nd->nt", x.to(gate.dtype), gate))[..., None].to(x.dtype)
        z = torch.bmm(opened.to(a.dtype), a[self._rows].transpose(1, 2))
        return torch.bmm(z, b[self._rows].transpose(1, 2)) * self._bank.scaling
