"""ε bounds of modules trained with DP-SGD, whose true ε is accounted: none may exceed it.

Each module has one owner, of a world generated for it. Fair coins decide which of the owner's items the adapter is
trained on. ε is accounted for all of them: those left out count as examples without gradient (``Job.public``), so
neither rate nor steps reveal the coins. An item's score is its gain: its mean log-probability under the module minus
the unmerged base's. Each module gives one bound by one-run auditing (Steinke et al. 2023). A threshold counted over
the items of one training would treat them as independent runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from prime_audit.audit.auc import BoolArray, FloatArray, auc
from prime_audit.audit.bounds import Bound, coin_bound
from prime_audit.calibration.mechanisms import DELTA, Bounds
from prime_audit.engine.bank import AdapterBank
from prime_audit.engine.base import Base
from prime_audit.engine.engine import Engine
from prime_audit.engine.load import load_base, quiet_libraries
from prime_audit.engine.mixture import BASE, Mixture, Request, alone
from prime_audit.engine.privacy import Privacy, account
from prime_audit.engine.recipe import Job, LoraShape, Recipe
from prime_audit.engine.train import train_adapters
from prime_audit.lamp.prompts import Example, history_examples
from prime_audit.lamp.tasks import TASKS
from prime_audit.lamp.world.world import world
from prime_audit.seeds import rng_of
from prime_audit.settings import load_settings

TASK, ITEMS = "LaMP-4", 80
EPOCHS = 20
"""Five times the sharers', so that modules without privacy are detected; otherwise a null result would mean nothing."""
EPSILONS: tuple[float | None, ...] = (1.0, 8.0, None)
"""Targets; None trains without clipping and noise."""


@dataclass(frozen=True, eq=False)
class _Owner:
    """The owner of one module."""

    name: str
    items: list[Example]
    """[items in the game]"""
    coins: BoolArray
    """Whether each item is trained on, [items in the game]."""

    def job(self) -> Job:
        own = [e for e, coin in zip(self.items, self.coins.tolist(), strict=True) if coin]
        examples = tuple((e.prompt, e.gold) for e in own)
        return Job(self.name, examples, tuple(e.item for e in own), public=len(self.items))


def dp_bounds(modules: int, seed: int, note: Callable[[str], None] = lambda line: None) -> list[Bounds]:
    """Train ``modules`` modules at each ε, and as many without privacy; return their bounds with the truth."""
    quiet_libraries()
    settings = load_settings("laptop")
    base = load_base("mini", targets=settings.get("lora.modules"), device="cpu", dtype="float32")
    recipe = Recipe(**{**settings.recipe("sharer", TASK), "epochs": EPOCHS})
    owners, found = _owners(modules, seed), list[Bounds]()
    for epsilon in EPSILONS:
        note(f"{modules} modules, " + (f"ε {epsilon:g}" if epsilon else "no privacy"))
        privacy = Privacy(epsilon, DELTA) if epsilon else None
        found.append(_regime(base, owners, recipe, privacy, seed, settings.get("train_tokens")))
    return found


def _owners(modules: int, seed: int) -> list[_Owner]:
    people = world(TASK, seed=seed, users=modules, adapt=0, targets=0, history=(ITEMS, ITEMS)).candidates
    found = []
    for user in people:
        examples = history_examples(TASKS[TASK], user, augmented=False)
        coins = rng_of(seed, "calibrate", "coins", user.id).random(len(examples)) < 0.5
        found.append(_Owner(user.id, examples, coins))
    return found


def _regime(
    base: Base, owners: list[_Owner], recipe: Recipe, privacy: Privacy | None, seed: int, tokens: int
) -> Bounds:
    jobs = [owner.job() for owner in owners]
    made = train_adapters(base, jobs, LoraShape(), recipe, seed=seed, tokens=tokens, privacy=privacy)
    engine = Engine(base=base, bank=AdapterBank(base))
    engine.bank.add(made)
    delta = DELTA if privacy else 0.0
    bounds, aucs = list[Bound](), list[float]()
    for owner in owners:
        gains = _gains(engine, owner)
        bounds.append(coin_bound([(gains, owner.coins)], delta=delta))
        aucs.append(auc(gains[owner.coins], gains[~owner.coins]))
    truth = account(ITEMS, recipe, privacy).epsilon if privacy else None
    name = f"DP-SGD module, δ {DELTA:g}" if privacy else "module without privacy"
    return Bounds.of(bounds, truth, mechanism=name, estimator="coins", auc=float(np.mean(aucs)))


def _gains(engine: Engine, owner: _Owner) -> FloatArray:
    """Gain of each item, [items]."""

    def scored(mixture: Mixture) -> FloatArray:
        found = engine.score([Request(e.prompt, mixture, e.gold) for e in owner.items])
        return np.array([row.mean() for row in found], dtype=np.float64)

    return scored(alone(owner.name)) - scored(BASE)
