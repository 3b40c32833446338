"""Checks of a game: what it deals of simulated items, and the verdicts without a leak and with a planted one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np

from prime_audit.audit.auc import Undefined
from prime_audit.audit.design import Dealt
from prime_audit.audit.judge import Judged, judge
from prime_audit.audit.pool import Pool
from prime_audit.authoring.check import Check, described, in_line
from prime_audit.errors import UserError
from prime_audit.games.exam.examine import NO_ITEMS, grouped
from prime_audit.games.exam.simulated import TARGETS, World, items, simulated
from prime_audit.plugins import Audited, Game
from prime_audit.plugins.calling import dealt_of
from prime_audit.plugins.loading import available, load_game

PLANTED = 1.5
"""Standard deviations by which a planted leak raises a member's score."""
SEEDS = range(5)
"""Planted leaks."""
NULLS = range(1000, 1040)
"""Audits without a leak."""
FALSE = 5
"""The most of these that may say *leaks* (in the base or not): at level 5 % more than 5 of 40 do once in 70 times."""
SLACK = 0.02
"""How far from ½ their mean AUC may be, beyond three standard errors."""
PERMUTATIONS = 199


def examine_game(game: Game) -> list[Check]:
    """Check one game; where it cannot be dealt at all, that is the last line."""
    said = described(game)
    try:
        grouped([*_others(game), game])
        dealt = _dealt(game)
    except UserError as fault:
        return [
            said,
            Check("deals", False, in_line(fault), "fix it; compare with prime_audit/games/heldout.py"),
        ]
    checks = [said, _sides(game, dealt), _repeats(game, dealt), _reasons(game), _unit(game, dealt)]
    if not all(check.ok for check in checks[1:]):
        return checks
    try:
        return [*checks, _null(game), _planted(game)]
    except Undefined as why:
        return [*checks, Check("audits", False, str(why), "deal both sides to more targets")]


def _others(game: Game) -> Iterator[Game]:
    """Load the installed games beside this one, but for those that are broken themselves."""
    for name in available("game"):
        if name != game.name:
            with suppress(UserError):
                yield load_game(name)


def _dealt(game: Game) -> list[Dealt]:
    return [dealt_of(game, audited, pool) for seed in SEEDS for pool, audited in items(seed)]


def _sides(game: Game, dealt: list[Dealt]) -> Check:
    playable = [d for d in dealt if d.playable]
    sizes = f"{int(np.mean([d.members.sum() for d in playable]))} members" if playable else "no members"
    found = f"both sides for {len(playable)} of {len(dealt)} targets, {sizes} on average"
    why = Counter(d.reason for d in dealt if d.reason).most_common(1)
    return Check(
        "deals", bool(playable), found + (f" ({why[0][0]})" if why else ""), "deal members and non-members"
    )


def _repeats(game: Game, dealt: list[Dealt]) -> Check:
    again = _dealt(game)
    same = all(
        np.array_equal(a.rows, b.rows) and np.array_equal(a.members, b.members)
        for a, b in zip(dealt, again, strict=True)
    )
    found = "same items, same members" if same else "same items, other members"
    return Check("deterministic", same, found, "draw with prime_audit.seeds.rng_of(0, game, audited.target)")


def _reasons(game: Game) -> Check:
    """Where there is nothing to play, a game says why: a figure of it would be an AUC of one side."""
    pool, audited = next(iter(items(0)))
    everybody = tuple(dict.fromkeys(pool.owners))
    cases: dict[str, tuple[Audited, Pool]] = {
        "a target without merged sharers": (replace(audited, merged=(), coins={}), pool),
        "a target that merges every sharer": (replace(audited, merged=everybody), pool),
        "nothing held out": (audited, replace(pool, trained=np.ones(len(pool), dtype=np.bool_))),
        "nothing trained": (audited, replace(pool, trained=np.zeros(len(pool), dtype=np.bool_))),
        "no items": (audited, NO_ITEMS),
    }
    for case, given in cases.items():
        try:
            dealt = dealt_of(game, *given)
        except UserError as fault:
            return Check(
                "reasons", False, f"{case}: {in_line(fault)}", "return Dealt.nothing(target, reason)"
            )
        if dealt.reason is None and not dealt.playable and not game.design.whole:
            return Check(
                "reasons", False, f"{case}: one side only", "return pool.deal(target, rows, members)"
            )
    return Check("reasons", True, f"copes with {', '.join(cases)}")


def _unit(game: Game, dealt: list[Dealt]) -> Check:
    """Only what is on one side as a whole can be exchanged as a whole."""
    split = 0
    for d in dealt:
        sides = {(owner, bool(member)) for owner, member in zip(d.owners, d.members, strict=True)}
        split += len(sides) - len({owner for owner, _ in sides})
    wrong = {"sharer": split > 0, "item-within-sharer": split == 0, "item": False}[game.design.unit]
    found = f"{game.design.unit}; {split} people have items on both sides"
    remedy = "unit= is sharer where all of a person's items are on one side, else item-within-sharer"
    return Check("unit", not wrong, found, remedy)


def _judged(game: Game, seed: int, strength: float = 0.0) -> Judged:
    trial = simulated(game, np.random.default_rng(seed), World(strength=strength), everything=True)
    (found,) = judge(game.design, trial.dealt, [trial.scored], seed=seed, permutations=PERMUTATIONS)
    return found


def _null(game: Game) -> Check:
    found = [_judged(game, seed) for seed in NULLS]
    areas = np.array([one.estimate.value for one in found])
    mean, error = float(areas.mean()), float(areas.std(ddof=1) / np.sqrt(areas.size))
    alarms = sum(one.verdict.word.startswith("leaks") for one in found)
    well = alarms <= (FALSE if game.design.randomised else 0) and abs(mean - 0.5) <= SLACK + 3 * error
    said = f"AUC {mean:.3f} ± {error:.3f}; {alarms} of {areas.size} audits of {TARGETS} targets say leaks"
    remedy = "deal by nothing that a score could depend on; randomised= only where chance decided"
    return Check("no leak, no verdict", well, said, remedy)


def _planted(game: Game) -> Check:
    words = Counter(_judged(game, seed, PLANTED).verdict.word for seed in SEEDS)
    due = "leaks" if game.design.randomised else "confounded"
    said = ", ".join(f"{word} {count}" for word, count in words.most_common())
    remedy = "a leak of every member must be found: deal more items, or more people on each side"
    return Check("a planted leak is found", set(words) == {due}, f"{said} of {len(SEEDS)}", remedy)
