"""What an audit of a size can detect: known before any model is loaded, from numbers of people and items alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from prime_audit.audit.judge import judge_all
from prime_audit.audit.permutation import FEWEST, POWER
from prime_audit.audit.verdict import ALPHA, MIN_SHARERS
from prime_audit.community.funnel import Funnel, funnel
from prime_audit.community.held import hold_back
from prime_audit.games.exam.simulated import World, simulated
from prime_audit.lamp.data import Dataset
from prime_audit.plugins import Game
from prime_audit.plugins.loading import load_game
from prime_audit.settings import Settings

GAMES = ("heldout", "inclusion", "target")
"""The games that ask about people's own items, or about people: those whose verdict may be *leaks*."""
AUDITS = 5
"""Simulated audits, of which the median counts."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """The size of a task's audit."""

    sharers: int
    targets: int
    merged: int
    """Sharers that a target merges."""
    items: int
    """Of each sharer: held-out items and as many trained ones."""
    own_items: int
    """Of each target, likewise."""


def size_of(data: Dataset, settings: Settings, found: Funnel, seed: int = 0) -> Size:
    """Size a task's audit, by the most sharers that it can have and the median of their held-out items."""
    held = hold_back(data, settings.get("heldout", data.task), seed)[1].values()
    return Size(
        sharers=found.most,
        targets=len(data.targets),
        merged=min(settings.get("prime.k", data.task), found.most),
        items=2 * int(median(found.heldout or [0])),
        own_items=2 * int(median([len(h.others) for h in held] or [0])),
    )


def detectable(game: Game, size: Size, seed: int = 0) -> float | None:
    """Return the smallest AUC that 80 % of such audits find, 0.5 plus its gain over the base; None: none is found.

    The median over simulated audits (``simulated``) of one attack and one method, on which nothing leaks. Real scores
    may be noisier; more attacks and methods need more.
    """
    of_targets = game.name == "target"
    items, people = (size.own_items, size.targets) if of_targets else (size.items, size.sharers)
    if items < 2 or people < 1 or size.targets < 1 or not (of_targets or size.merged):
        return None
    world = World(sharers=max(size.sharers, 1), targets=size.targets, merged=max(size.merged, 1), items=items)
    found = []
    for number in range(AUDITS):
        trial = simulated(
            game, np.random.default_rng([seed, number]), world, everything=game.name != "heldout"
        )
        if not any(dealt.playable for dealt in trial.dealt):
            return None
        one = judge_all(game.design, trial.entries, seed=seed + number, permutations=FEWEST)[0][0]
        fewest = min(one.estimate.member_sharers, one.estimate.other_sharers)
        able = one.tests is not None and one.tests.floor <= ALPHA and fewest >= MIN_SHARERS
        least = one.tests.detectable if able and one.tests else None
        found.append(np.inf if least is None else least)
    middle = float(median(found))
    return middle if np.isfinite(middle) else None


def outlook(data: Dataset, settings: Settings, games: Sequence[str] = GAMES, seed: int = 0) -> Iterator[str]:
    """Say who shares, why the others do not, and what leak an audit of this size finds, game by game."""
    found = funnel(data, settings, seed)
    yield from found.lines()
    size = size_of(data, settings, found, seed)
    known = {name: detectable(load_game(name), size, seed) for name in games if name in GAMES}
    able = [f"{least:.3f} in game {name}" for name, least in known.items() if least is not None]
    if able:
        yield (
            f"smallest AUC that {100 * POWER:.0f} % of such audits find, with one attack on one method, base at 0.5 "
            f"(simulated): {', '.join(able)}"
        )
    for name in (name for name, least in known.items() if least is None):
        yield f"game {name}: too small for a verdict: {_lacking(name, size)}"


def _lacking(name: str, size: Size) -> str:
    if name == "target":
        people, count, items = "targets", size.targets, size.own_items
    else:
        people, count, items = "sharers", size.sharers, size.items
    sides = " on each side" if name == "inclusion" else ""
    return f"{count} {people}, {items} items each; needs at least {MIN_SHARERS} {people}{sides} with held-out items"
