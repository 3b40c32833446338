"""Audits of a game with a known answer: simulated items, models and scores, with or without a planted leak.

Score of target t's model for item i of person s: √c·u_s + √(1-c)·e_i + a_i + noise + what is planted, with u, e
standard normal and c the correlation between one person's items; the unmerged base has the first two terms alone. So
half of the variance is the person's, shared by all their items and by all targets. a is what adapters do to an item
whether it was trained on or not: the same for every target, and partly the same for every attack and method.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prime_audit.audit.auc import BoolArray, FloatArray, IntArray
from prime_audit.audit.design import Dealt
from prime_audit.audit.judge import Entry, Scored
from prime_audit.audit.pool import Pool
from prime_audit.plugins import Audited, Game
from prime_audit.plugins.calling import dealt_of

SHARERS, TARGETS, MERGED, ITEMS = 16, 8, 4, 12
CORRELATION = 0.5
"""Share of an item score's variance that is its person's."""
ADAPTER, ALIKE = 0.3, 0.6
"""Deviation of what adapters do to an item, and the share of its variance that attacks and methods have in common."""
NOISE = 0.2
"""Deviation from one target's model to the next."""
HISTORY = 5
"""A person's history holds so many items for every two in play, where held-out items are chosen by their place."""

RANDOM = "at random"
"""The key of ``HELD`` that chooses no place."""
_Choice = Callable[[int, int, np.random.Generator], IntArray]
HELD: Mapping[str, _Choice] = {
    RANDOM: lambda k, n, rng: rng.choice(n, k, replace=False),
    "the last": lambda k, n, rng: np.arange(n - k, n),
    "the first": lambda k, n, rng: np.arange(k),
    "those before the last": lambda k, n, rng: np.arange(n - k - 1, n - 1),
    "every fifth": lambda k, n, rng: np.arange(n // k - 1, n, n // k),
}
"""How given data chose k held-out items of a history of n -> their places."""


@dataclass(frozen=True, kw_only=True)
class World:
    """What is simulated. Strengths are standard deviations of an item's score."""

    sharers: int = SHARERS
    targets: int = TARGETS
    merged: int = MERGED
    """Sharers that a target merges; inclusion's coins are thrown for twice as many."""
    items: int = ITEMS
    """A person's items in play, half of them trained on."""
    attacks: int = 1
    methods: int = 1
    strength: float = 0.0
    """By how much a member's score is raised: the leak."""
    share: float = 1.0
    """Share of the items that are raised where they are members."""
    uneven: float = 0.0
    """Coefficient of variation of the strength over people."""
    shift: float = 0.0
    """By how much items of merged sharers are raised under every model, the base too: selection, no leak."""
    count: float = 0.0
    """By how much all items are raised for each standard deviation of included candidates: how many, not who."""
    held: str | None = None
    """How held-out items were chosen, by ``HELD``, where they came with the data; None: drawn by the run."""
    drift: float = 0.0
    """By how much scores change from the middle of a history to its ends, towards the side of what was trained on."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One audit: a game's labels with every method's scores and controls."""

    game: Game
    entries: Sequence[Entry]
    """One a method; all have the same labels."""

    @property
    def dealt(self) -> Sequence[Dealt]:
        """The labels."""
        return self.entries[0].dealt

    @property
    def scored(self) -> Scored:
        """The first attack on the first method."""
        return self.entries[0].scored[0]


def simulated(
    game: Game, rng: np.random.Generator, world: World | None = None, *, everything: bool = False
) -> Trial:
    """Simulate one audit: each target merges its most similar sharers, trained on half of their items.

    Targets that ``game`` does not apply to are left out. ``everything``: also simulate items of the targets' own, half
    of them held out, and a coin for each of a target's candidates, which is all that an installed game may need.
    """
    w = world or World()
    owner = _owners(w, everything)
    people = int(owner[-1]) + 1
    item = rng.normal(size=people)[owner] * math.sqrt(CORRELATION)
    item += rng.normal(size=owner.size) * math.sqrt(1 - CORRELATION)
    pool = _pool(owner, rng, w)
    length = -rng.poisson(8.0, size=owner.size).astype(np.float64)
    adapters, raised = _adapters(owner.size, pool, rng, w), _raised(owner, rng, w)
    dealt, scores = (
        list[Dealt](),
        [[dict[str, FloatArray]() for _ in range(w.attacks)] for _ in range(w.methods)],
    )
    controls: dict[str, dict[str, FloatArray]] = {"base": {}, "length_only": {}, "similarity_only": {}}
    for number in range(w.targets):
        near = rng.random(w.sharers)
        order = np.argsort(-near)
        audited = _audited(number, order, w.merged, rng if everything else None)
        own_game = dealt_of(game, audited, pool)
        if own_game.reason is not None:
            continue
        rows, name = own_game.rows, own_game.target
        plain = item[rows] + w.shift * np.isin(owner[rows], order[: w.merged])
        planted = raised[rows] * own_game.members + w.count * _excess(audited)
        for of_method, own_adapters in zip(scores, adapters, strict=True):
            for of_attack, adapter in zip(of_method, own_adapters, strict=True):
                of_attack[name] = plain + adapter[rows] + NOISE * rng.normal(size=rows.size) + planted
        dealt.append(own_game)
        controls["base"][name], controls["length_only"][name] = plain, length[rows]
        controls["similarity_only"][name] = np.append(near, np.ones(people - w.sharers))[owner[rows]]
    entries = [
        Entry(
            dealt=dealt,
            scored=[
                Scored(attack=f"simulated {n}", scores=one, undefined=0, controls=controls)
                for n, one in enumerate(of_method)
            ],
        )
        for of_method in scores
    ]
    return Trial(game, entries)


def items(seed: int) -> Iterator[tuple[Pool, Audited]]:
    """Simulate what a game deals from, everything included: the items, with each target's model."""
    rng = np.random.default_rng(seed)
    pool = _pool(_owners(World(), everything=True), rng, World())
    for number in range(TARGETS):
        yield pool, _audited(number, rng.permutation(SHARERS), MERGED, rng)


def _owners(world: World, everything: bool) -> IntArray:
    """Return the number of each item's person, sharers before targets, [items]."""
    return np.repeat(np.arange(world.sharers + (world.targets if everything else 0)), world.items)


def _adapters(size: int, pool: Pool, rng: np.random.Generator, w: World) -> FloatArray:
    """Draw what adapters do to each item, [methods, attacks, items]: noise, and the drift."""
    common = math.sqrt(ALIKE) * rng.normal(size=size)
    found = ADAPTER * (common + math.sqrt(1 - ALIKE) * rng.normal(size=(w.methods, w.attacks, size)))
    if not w.drift:
        return found
    places, lengths = pool.places.T
    late = 2 * (places - 1) / (lengths - 1) - 1  # -1 to 1
    # Places that are chosen put the members on one side, and the drift raises that side. Drawn places have no side: one
    # that is read from the labels would make a member's score higher than chance does.
    side = 1.0 if w.held == RANDOM else np.sign(late[pool.trained].mean() - late[~pool.trained].mean())
    drifted: FloatArray = found + w.drift * late * side
    return drifted


def _raised(owner: IntArray, rng: np.random.Generator, w: World) -> FloatArray:
    """By how much each item is raised where it is a member, [items]."""
    each = np.full(int(owner[-1]) + 1, w.strength)
    if w.uneven:
        shape = 1 / w.uneven**2
        each = w.strength * rng.gamma(shape, 1 / shape, size=each.size)
    chosen = rng.random(owner.size) < w.share if w.share < 1 else np.ones(owner.size, dtype=np.bool_)
    raised: FloatArray = each[owner] * chosen
    return raised


def _excess(audited: Audited) -> float:
    """How many more candidates than half are included, in standard deviations."""
    coins = [*audited.coins.values()]
    return (sum(coins) - len(coins) / 2) / math.sqrt(len(coins) / 4) if coins else 0.0


def _pool(owner: IntArray, rng: np.random.Generator, w: World) -> Pool:
    """Make the items of ``owner`` [items], half of each person's trained on."""
    parts = [_halves(rng, w) for _ in range(int(owner[-1]) + 1)]
    names = [f"s{n}" if n < w.sharers else f"t{n - w.sharers}" for n in owner.tolist()]
    words = [f"item {n}" for n in range(owner.size)]
    shared = owner < w.sharers
    return Pool(
        owners=names,
        ids=words,
        prompts=words,
        golds=words,
        trained=np.concatenate([trained for trained, _ in parts]),
        last=shared,
        drawn=shared,
        twins=[()] * owner.size,
        places=np.concatenate([places for _, places in parts]),
        given=w.held is not None,
    )


def _halves(rng: np.random.Generator, w: World) -> tuple[BoolArray, IntArray]:
    """Choose a person's trained items, and the places of all in the history -> [items], [items, 2]."""
    if w.held is None:
        return rng.permutation(np.arange(w.items) % 2 == 0), np.zeros((0, 2), dtype=np.int64)
    length, half = w.items * HISTORY // 2, w.items // 2
    out = np.zeros(length, dtype=np.bool_)
    out[HELD[w.held](half, length, rng)] = True
    trained = rng.choice(np.flatnonzero(~out), half, replace=False)
    places = np.sort(np.concatenate([np.flatnonzero(out), trained]))
    return ~out[places], np.stack([places + 1, np.full(places.size, length)], axis=1)


def _audited(number: int, order: IntArray, merged: int, rng: np.random.Generator | None) -> Audited:
    """Make a target's model that merges the first of ``order``; ``rng`` throws a coin for twice as many."""
    names = [f"s{n}" for n in order.tolist()]
    candidates = names[: 2 * merged] if rng else []
    thrown = rng.integers(2, size=len(candidates)).astype(bool).tolist() if rng else []
    coins = dict(zip(candidates, thrown, strict=True))
    return Audited(target=f"t{number}", merged=tuple(names[:merged]), coins=coins)
