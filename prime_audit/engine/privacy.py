"""Differential privacy of an adapter and the noise it needs: plain data and Opacus's accountant, no torch.

The guarantee (Abadi et al. 2016) is that of the Poisson-subsampled Gaussian mechanism under adding or removing one of
an owner's *items*, so each item may give only one example. It covers the owner's adapter, and all that is computed
from it and from other people's data. It does not cover other uses of the items: which users share (embeddings,
clusters, history lengths), Per-Pcs's gates, the number of items n (it sets the sampling rate and the steps, and counts
as public). Nor does it hold against a reader who knows the run's seed, because the noise follows from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import lru_cache

from prime_audit.engine.recipe import Job, Recipe, steps_of
from prime_audit.errors import UserError, unknown

DELTA = 1e-5
"""The default δ, one for all owners, so that their ε can be compared. With some tens of items the customary n^-1.1
would be 2 %, and a mechanism that publishes one of two owners' records satisfies (0, 1/(2n))."""

# Opacus's own orders end at 63, which cannot certify ε below about 0.2 at δ = 1e-5.
ORDERS = (*(1 + x / 10 for x in range(1, 100)), *range(11, 64), 72, 80, 96, 112, 128, 160, 192, 256)


@dataclass(frozen=True)
class Privacy:
    """The privacy that every owner's adapter must have."""

    epsilon: float
    """Target ε; ``inf`` clips each example and adds no noise: no guarantee, the price of clipping alone."""
    delta: float | None = None
    """δ; None: 1e-5, or n^-1.1 where an owner's n items are so many that this is smaller."""
    clip: float = 0.1
    """Largest L2 norm of one example's gradient over all factors of the adapter; the noise is a multiple of it.

    0.1 is below most gradients' norms (medians 0.15 to 0.7 on the mini model). There the value matters little, because
    AdamW ignores the gradient's scale (Li et al. 2022, who recommend 0.1)."""

    def __post_init__(self) -> None:
        if not self.epsilon > 0 or not 0 < self.clip < math.inf:
            raise UserError(f"ε {self.epsilon:g} and clip {self.clip:g}: give an ε and a clip above 0")
        if self.delta is not None and not 0 < self.delta < 1:
            raise UserError(f"δ {self.delta:g}: give a δ between 0 and 1, for example {DELTA:g}")


@dataclass(frozen=True, kw_only=True)
class Guarantee:
    """One owner's guarantee, and the mechanism behind it."""

    epsilon: float
    """Accounted ε, at most the target; ``inf`` without noise."""
    delta: float
    noise: float
    """Noise multiplier σ: the summed gradient gets N(0, (σ·clip)²) in each coordinate."""
    clip: float
    rate: float
    """Poisson sampling rate q: each item takes part in each step with this probability."""
    steps: int
    batch: float
    """Expected batch q·n, by which the noisy sum is divided."""


def parse_privacy(text: str, where: str) -> Privacy:
    """Read ``epsilon=8[,delta=1e-5][,clip=0.1]``; UserError naming ``where`` for anything else.

    ε must be finite here: without noise there is no guarantee, and a record has only finite numbers.
    """
    values: dict[str, float] = {}
    known = [f.name for f in fields(Privacy)]
    for pair in text.split(","):
        key, equals, number = (part.strip() for part in pair.partition("="))
        if not equals or not number:
            raise UserError(f"{where} {text}: write epsilon=8, with delta=… and clip=… behind commas")
        if key not in known:
            raise unknown(f"word of {where}", key, known)
        if key in values:
            raise UserError(f"{where} {text}: {key} is given twice; give it once")
        try:
            values[key] = float(number)
        except ValueError:
            raise UserError(f"{where} {text}: {number!r} is no number") from None
    if "epsilon" not in values:
        raise UserError(f"{where} {text}: gives no epsilon; write epsilon=8, for example")
    if not all(map(math.isfinite, values.values())):
        raise UserError(f"{where} {text}: give finite numbers")
    try:
        return Privacy(**values)
    except UserError as fault:
        raise UserError(f"{where} {text}: {fault}") from None


def account(items: int, recipe: Recipe, privacy: Privacy) -> Guarantee:
    """Find the least noise that gives ``items`` items the requested privacy, by Opacus's RDP accountant.

    RDP rather than PRV: its bound is proven for adding *and* removing an item (Mironov et al. 2019). It needs 7 to 9 %
    more noise than PRV (measured: ε 1 to 8, q 0.15, 21 steps, δ 1e-5). The same arguments give the same numbers, so a
    cached adapter's guarantee needs no training.

    Raises UserError where δ is not below 1/items, the ε is out of the accountant's reach, or Opacus is missing.
    """
    delta = min(DELTA, items**-1.1) if privacy.delta is None else privacy.delta
    if items > 1 and delta >= 1 / items:
        raise UserError(f"privacy: δ {delta:g} is not below 1/{items}, one over the items; give a smaller δ")
    rate, steps = min(1.0, recipe.batch / items), steps_of(items, recipe)
    epsilon, noise = math.inf, 0.0
    if privacy.epsilon < math.inf:
        epsilon, noise = _least_noise(privacy.epsilon, delta, rate, steps)
    return Guarantee(
        epsilon=epsilon,
        delta=delta,
        noise=noise,
        clip=privacy.clip,
        rate=rate,
        steps=steps,
        batch=rate * items,
    )


def require_one_example_an_item(job: Job) -> None:
    """Raise ValueError unless each example comes from a different item: ε protects items."""
    if len(job.items) != len(job.examples) or len(set(job.items)) != len(job.items):
        raise ValueError(
            f"{job.owner}: private training needs one example per item, with the items' ids; "
            "pass plain examples only (augmented ones carry other items' text)"
        )


@lru_cache(maxsize=4096)
def _least_noise(epsilon: float, delta: float, rate: float, steps: int) -> tuple[float, float]:
    try:
        from opacus.accountants import RDPAccountant
        from opacus.accountants.utils import get_noise_multiplier
    except ImportError:
        raise UserError("training with privacy needs Opacus's accountant: pip install opacus") from None
    accountant = RDPAccountant()
    try:
        noise = get_noise_multiplier(
            target_epsilon=epsilon,
            target_delta=delta,
            sample_rate=rate,
            steps=steps,
            accountant="rdp",
            epsilon_tolerance=min(0.01, epsilon / 100),
            alphas=list(ORDERS),
        )
        accountant.history = [(noise, rate, steps)]
        return float(accountant.get_epsilon(delta, alphas=list(ORDERS))), float(noise)
    except (ValueError, OverflowError) as fault:
        raise UserError(
            f"privacy: no noise gives ε {epsilon:g} at δ {delta:g}, rate {rate:g}, {steps} steps ({fault}); "
            "give an ε between 0.1 and 300"
        ) from None
