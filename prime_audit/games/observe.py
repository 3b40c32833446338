"""Whom does it leak: the pool of items, and one pass of every target's model over it (``play`` does the rest)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from prime_audit.audit.auc import IntArray
from prime_audit.audit.strata import sampled, strata_of
from prime_audit.community.build import Community
from prime_audit.community.sharers import singles
from prime_audit.engine.mixture import BASE, Continuation, Mixture, Probe
from prime_audit.games.deal import Game
from prime_audit.games.observed import Observed
from prime_audit.games.play import Examined
from prime_audit.games.pool import Pool
from prime_audit.games.stored import BEHIND, FIELDS
from prime_audit.lamp.data import User
from prime_audit.lamp.prompts import Example, history_examples
from prime_audit.lamp.readers import searchable
from prime_audit.plugins import Attack, Personal
from prime_audit.seeds import rng_of

POPULATION = 24
"""Known non-members that RMIA compares with, and of whose golds ReCaLL's prefix is made."""
PREFIX = 3
"""Golds in ReCaLL's prefix; they are no part of the population that is scored."""


def make_pool(community: Community) -> Pool:
    """Gather a task's items: the sharers' last trained examples, their held-out items, and known non-members."""
    rows: dict[str, tuple[str, str, str, list[str], bool, bool, bool]] = {}
    trainers = _trainers(community)
    able = searchable(community.data)  # official LaMP-1 has no golds in its histories: nothing to play on
    for sharer in community.sharers if able else ():
        owner, trained = sharer.user.id, set(sharer.trained)
        words = {item.id: item.words for item in sharer.user.history}
        last = {e.id for e in community.last_examples(sharer.user, sharer.trained)}
        rng = rng_of(community.seed, "heldout game", owner)
        once = [item for item in singles(sharer.user) if item in trained]
        count = min(len(sharer.heldout), len(once))
        some = set(rng.choice(once, count, replace=False).tolist()) if count else set()
        drawn = some | set(sharer.heldout)
        plain = history_examples(community.task, sharer.user, augmented=False, items=drawn)
        for example in (*community.trained_examples(sharer), *plain):
            in_last, in_drawn = example.id in last, example.kind == "plain" and example.item in drawn
            if in_last or in_drawn:
                flags = (example.item in trained, in_last, in_drawn)
                twins = sorted(trainers.get(words[example.item], ()))
                rows[example.id] = (owner, example.prompt, example.gold, twins, *flags)
    owners, prompts, golds, twins_of, *marks = list(zip(*rows.values(), strict=True)) or [()] * 7
    of_training, of_last, of_draw = (np.array(mark, dtype=np.bool_) for mark in marks)
    known = texts_of(population(community)) if able else []
    others = sampled(
        strata_of(owners, of_last),
        [user.id for user in community.data.targets],
        community.number("nonmember_items"),
        seed=community.seed,
        task=community.task.name,
    )
    return Pool(owners, list(rows), prompts, golds, of_training, of_last, of_draw, twins_of, known, others)


def _trainers(community: Community) -> dict[str, set[str]]:
    """Words of an item → the sharers whose adapters were trained on an item with these words."""
    found: dict[str, set[str]] = {}
    for sharer in community.sharers:
        for item in sharer.shown.history:
            found.setdefault(item.words, set()).add(sharer.user.id)
    return found


def population(community: Community) -> list[tuple[User, Example]]:
    """Draw known non-members among candidates who share nothing, else among the base's adaptation users.

    The latter are no member of any adapter, but the base may have seen some of them in front of its own examples.
    """
    sharing = {s.user.id for s in community.sharers}
    users = [
        u for u in community.data.candidates if u.id not in sharing and u.history
    ] or community.data.adapt
    found = [(u, e) for u in users for e in history_examples(community.task, u, augmented=False)]
    rng = rng_of(community.seed, "population", community.task.name)
    chosen = rng.permutation(len(found))[: POPULATION + PREFIX]
    return [found[i] for i in chosen]


def texts_of(crowd: Sequence[tuple[User, Example]]) -> list[tuple[str, str]]:
    """Return (prompt, gold) of known non-members, as a pool keeps them."""
    return [(e.prompt, e.gold) for _, e in crowd]


class Leakage:
    """All games of one task: the pool and the base's pass are shared by all methods."""

    stage = "signals"
    """What a pass over the pool is called in the run's account."""
    shadows = True
    """Whether a target's model is also asked what others' games deal, as a shadow model of theirs; where non-members
    are sampled, it is one for what it is asked anyway."""

    def __init__(
        self,
        community: Community,
        games: Sequence[Game],
        attacks: Sequence[Attack],
        pool: Pool | None = None,
    ) -> None:
        self.community, self.games = community, games
        self.pool = make_pool(community) if pool is None else pool
        self.base: Observed | None = None
        self._needs = {need for attack in attacks for need in attack.needs} | {"logprobs"}

    def examine(self, method: str, models: Mapping[str, Personal]) -> Examined:
        """Ask every model that some game can be played on, once, for what the games need of it."""
        merged = {target: tuple(p.sharers) for target, p in models.items()}
        rows = {target: self._rows_for(target, merged[target]) for target in models}
        able = [target for target in models if rows[target].size]
        if able:
            self.see_base()
        rest = [t for t in able if models[t].mixture.names]
        asked = [self._probes(models[t].mixture, rows[t].tolist()) for t in rest]
        found = self._observe(f"{method} · {self.stage}", asked) if rest else []
        seen = {t: own.spread(rows[t], len(self.pool)) for t, own in zip(rest, found, strict=True)}
        # A target whose model merges nobody has the base's, which was asked already.
        return Examined(method, merged, {t: seen[t] if t in seen else self.see_base() for t in able})

    def _rows_for(self, target: str, merged: Sequence[str]) -> IntArray:
        """Rows that a target's model is asked for: all that others may be dealt, or what she is dealt."""
        dealt = [game.deal(target, merged, self.pool) for game in self.games]
        own = [d.rows for d in dealt if d.reason is None]
        if own and self.shadows and not self.pool.sampled:
            return np.arange(len(self.pool))
        return np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *own]))

    @property
    def fields(self) -> tuple[str, ...]:
        """What a pass observes."""
        own = {"logprobs", *(BEHIND[need] for need in self._needs if need in BEHIND)}
        moments = {"mu", "sigma"} if own & {"mu", "sigma"} else set()
        return tuple(name for name in FIELDS if name in own | moments)

    def see_base(self) -> Observed:
        """Run the unmerged base over the pool, once for all methods."""
        if self.base is None:
            (self.base,) = self._observe("signals (base)", [self._probes(BASE)])
        return self.base

    def _observe(self, stage: str, asked: Sequence[list[Probe]]) -> list[Observed]:
        """Ask every model its probes: items first, then the known non-members where an attack needs them."""
        community = self.community
        probes = [p for own in asked for p in own]
        with community.stage(stage, len(probes)) as tick:
            found = iter(community.engine.observe(probes, bool(self._needs & {"mu", "sigma"}), tick))
        seen = [
            Observed.gather([next(found) for _ in own], len(own) - self._known(), self._extras())
            for own in asked
        ]
        if "prefix_logprobs" not in self._needs or self._prefix():
            return seen
        # Without known non-members there is no prefix to ask behind: undefined, not "the same".
        return [replace(s, prefix_logprobs=[np.full(1, np.nan)] * len(s.logprobs)) for s in seen]

    def _known(self) -> int:
        """Count the known non-members behind a model's items."""
        return len(self.pool.population[PREFIX:]) if "population_logprobs" in self._needs else 0

    def _probes(
        self,
        mixture: Mixture,
        rows: Iterable[int] | None = None,
        prompts: Mapping[int, str] | None = None,
        crowd: Sequence[str] | None = None,
    ) -> list[Probe]:
        """Probe a model with these rows of the pool (all) and with known non-members.

        ``prompts`` and ``crowd`` stand in for the pool's own prompts of rows and of known non-members.
        """
        pool, probes, extras = self.pool, list[Probe](), self._extras()
        for row in range(len(pool)) if rows is None else rows:
            golds = [Continuation(pool.golds[row])]
            if "lower_logprobs" in extras:
                golds.append(Continuation(pool.golds[row].lower()))
            if "prefix_logprobs" in extras:
                golds.append(Continuation(pool.golds[row], before=self._prefix()))
            prompt = (prompts or {}).get(row, pool.prompts[row])
            probes.append(Probe(prompt, mixture, tuple(golds)))
        if "population_logprobs" in self._needs:
            known = pool.population[PREFIX:]
            asked = crowd or [p for p, _ in known]
            probes += [Probe(p, mixture, (Continuation(g),)) for p, (_, g) in zip(asked, known, strict=True)]
        return probes

    def _extras(self) -> tuple[str, ...]:
        able = ("lower_logprobs", "prefix_logprobs") if self._prefix() else ("lower_logprobs",)
        return tuple(n for n in able if n in self._needs)

    def _prefix(self) -> str:
        return " ".join(gold for _, gold in self.pool.population[:PREFIX])
