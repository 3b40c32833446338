"""Audits of a game with a known answer: simulated items, models and scores, with or without a planted leak.

Score of target t's model for item i of person s: √c·u_s + √(1-c)·e_i + noise + d·[i is a member], with u, e standard
normal and c the correlation between one person's items; the unmerged base has the same without the last term. So half
of the variance is the person's, shared by all their items and by all targets.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from prime_audit.audit.auc import FloatArray, IntArray
from prime_audit.audit.design import Dealt
from prime_audit.audit.judge import Scored
from prime_audit.audit.pool import Pool
from prime_audit.plugins import Audited, Game
from prime_audit.plugins.calling import dealt_of

SHARERS, TARGETS, MERGED, ITEMS = 16, 8, 4, 12
CORRELATION = 0.5
"""Share of an item score's variance that is its person's."""
NOISE = 0.2
"""Deviation from one target's model to the next."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One audit: a game's labels with an attack's scores and its controls'."""

    game: Game
    dealt: Sequence[Dealt]
    scored: Scored


def simulated(
    game: Game,
    rng: np.random.Generator,
    strength: float = 0.0,
    shift: float = 0.0,
    *,
    everything: bool = False,
) -> Trial:
    """Simulate one audit: each target merges the MERGED most similar sharers, trained on half of their items.

    Targets that ``game`` does not apply to are left out. ``strength``: standard deviations by which a member's score is
    raised; ``shift``: the same for items of merged sharers under every model, the base too (selection, no leak).
    ``everything``: also simulate items of the targets' own, half of them held out, and a coin for each of a target's
    candidates, which is all that an installed game may need.
    """
    owner = _owners(everything)
    people = int(owner[-1]) + 1
    own = rng.normal(size=people)[owner] * math.sqrt(CORRELATION)
    item = own + rng.normal(size=owner.size) * math.sqrt(1 - CORRELATION)
    pool = _pool(owner, rng)
    length = -rng.poisson(8.0, size=owner.size).astype(np.float64)
    dealt, scores = list[Dealt](), dict[str, FloatArray]()
    controls: dict[str, dict[str, FloatArray]] = {"base": {}, "length_only": {}, "similarity_only": {}}
    for number in range(TARGETS):
        near = rng.random(SHARERS)
        order = np.argsort(-near)
        own_game = dealt_of(game, _audited(number, order, rng if everything else None), pool)
        rows, members, name = own_game.rows, own_game.members, own_game.target
        plain = item[rows] + shift * np.isin(owner[rows], order[:MERGED])
        told = plain + NOISE * rng.normal(size=rows.size) + strength * members
        if own_game.reason is not None:
            continue
        dealt.append(own_game)
        scores[name] = told
        controls["base"][name], controls["length_only"][name] = plain, length[rows]
        controls["similarity_only"][name] = np.append(near, np.ones(people - SHARERS))[owner[rows]]
    scored = Scored(attack="simulated", scores=scores, undefined=0, controls=controls)
    return Trial(game, dealt, scored)


def items(seed: int) -> Iterator[tuple[Pool, Audited]]:
    """Simulate what a game deals from, everything included: the items, with each target's model."""
    rng = np.random.default_rng(seed)
    pool = _pool(_owners(everything=True), rng)
    for number in range(TARGETS):
        yield pool, _audited(number, rng.permutation(SHARERS), rng)


def _owners(everything: bool) -> IntArray:
    """Return the number of each item's person, sharers before targets, [items]."""
    return np.repeat(np.arange(SHARERS + (TARGETS if everything else 0)), ITEMS)


def _pool(owner: IntArray, rng: np.random.Generator) -> Pool:
    """Make the items of ``owner`` [items], half of each person's trained on."""
    halves = [rng.permutation(np.arange(ITEMS) % 2 == 0) for _ in range(int(owner[-1]) + 1)]
    names = [f"s{n}" if n < SHARERS else f"t{n - SHARERS}" for n in owner.tolist()]
    words = [f"item {n}" for n in range(owner.size)]
    shared = owner < SHARERS
    return Pool(
        owners=names,
        ids=words,
        prompts=words,
        golds=words,
        trained=np.concatenate(halves),
        last=shared,
        drawn=shared,
        twins=[()] * owner.size,
    )


def _audited(number: int, order: IntArray, rng: np.random.Generator | None) -> Audited:
    """Make a target's model that merges the first of ``order``; ``rng`` throws a coin for twice as many."""
    names = [f"s{n}" for n in order.tolist()]
    candidates = names[: 2 * MERGED] if rng else []
    thrown = rng.integers(2, size=len(candidates)).astype(bool).tolist() if rng else []
    coins = dict(zip(candidates, thrown, strict=True))
    return Audited(target=f"t{number}", merged=tuple(names[:MERGED]), coins=coins)
