"""Whom does it leak: one pass of every target's model over the pool, then all games, attacks and controls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prime_audit.audit.auc import FloatArray, IntArray, Undefined
from prime_audit.audit.controls import CONTROLS, both_sides
from prime_audit.audit.games import Dealt, Game
from prime_audit.audit.judge import Judged, Scored, judge
from prime_audit.audit.observed import Observed, signals_of
from prime_audit.audit.pool import Pool
from prime_audit.audit.signals import Signals, returned, settle
from prime_audit.community.build import Community
from prime_audit.engine.mixture import BASE, Continuation, Mixture, Probe
from prime_audit.lamp.prompts import history_examples
from prime_audit.plugins import Attack, Personal
from prime_audit.record import Comparison, Leak, Result
from prime_audit.seeds import rng_of

POPULATION = 24
"""Known non-members that RMIA compares with, and of whose golds ReCaLL's prefix is made."""
PREFIX = 3
"""Golds in ReCaLL's prefix; they are no part of the population that is scored."""


def make_pool(community: Community) -> Pool:
    """Gather a task's items: the sharers' last trained examples, their held-out items, and known non-members."""
    rows: dict[str, tuple[str, str, str, bool, bool, bool]] = {}
    for sharer in community.sharers:
        owner, trained = sharer.user.id, set(sharer.trained)
        last = {e.id for e in community.last_examples(sharer.user, sharer.trained)}
        rng = rng_of(community.seed, "heldout game", owner)
        some = set(rng.choice(sharer.trained, min(len(sharer.heldout), len(trained)), replace=False).tolist())
        drawn = some | set(sharer.heldout)
        plain = history_examples(community.task, sharer.user, augmented=False, items=drawn)
        for example in (*community.trained_examples(sharer), *plain):
            in_last, in_drawn = example.id in last, example.kind == "plain" and example.item in drawn
            if in_last or in_drawn:
                flags = (example.item in trained, in_last, in_drawn)
                rows[example.id] = (owner, example.prompt, example.gold, *flags)
    owners, prompts, golds, *marks = list(zip(*rows.values(), strict=True)) or [()] * 6
    of_training, of_last, of_draw = (np.array(mark, dtype=np.bool_) for mark in marks)
    return Pool(owners, list(rows), prompts, golds, of_training, of_last, of_draw, _population(community))


def _population(community: Community) -> list[tuple[str, str]]:
    """Draw known non-members among candidates who share nothing, else among the base's adaptation users."""
    sharing = {s.user.id for s in community.sharers}
    users = [
        u for u in community.data.candidates if u.id not in sharing and u.history
    ] or community.data.adapt
    found = [e for u in users for e in history_examples(community.task, u, augmented=False)]
    rng = rng_of(community.seed, "population", community.task.name)
    chosen = rng.permutation(len(found))[: POPULATION + PREFIX]
    return [(found[i].prompt, found[i].gold) for i in chosen]


@dataclass(frozen=True, eq=False)
class Examined:
    """One core method's models over the pool, and who is merged in each."""

    method: str
    merged: Mapping[str, tuple[str, ...]]
    """Target → the sharers merged in her model."""
    seen: Mapping[str, Observed]
    """Target → what her model said of the pool; only of targets with a game to play."""


class Leakage:
    """All games of one task: the pool and the base's pass are shared by all methods."""

    def __init__(self, community: Community, games: Sequence[Game], attacks: Sequence[Attack]) -> None:
        self.community, self.games, self.attacks = community, games, attacks
        self.pool = make_pool(community)
        self._needs = {need for attack in attacks for need in attack.needs} | {"logprobs"}
        self._base: Observed | None = None
        self._words: dict[bytes, FloatArray] = {}

    # -- the one pass ------------------------------------------------------------------------------------

    def examine(self, method: str, models: Mapping[str, Personal]) -> Examined:
        """Run every model that some game can be played on over the pool, once."""
        merged = {target: tuple(p.sharers) for target, p in models.items()}
        able = [t for t in models if any(g.deal(t, merged[t], self.pool).reason is None for g in self.games)]
        if able and self._base is None:
            (self._base,) = self._observe(None, "signals (base)", [BASE])
        seen = self._observe(method, "signals", [models[t].mixture for t in able]) if able else []
        return Examined(method, merged, dict(zip(able, seen, strict=True)))

    def _observe(self, method: str | None, stage: str, mixtures: Sequence[Mixture]) -> list[Observed]:
        community = self.community
        asked = [self._probes(mixture) for mixture in mixtures]
        probes = [p for own in asked for p in own]
        with community.stage(f"{method} · {stage}" if method else stage, len(probes)) as tick:
            found = iter(community.engine.observe(probes, bool(self._needs & {"mu", "sigma"}), tick))
        return [Observed.gather([next(found) for _ in own], len(self.pool), self._extras()) for own in asked]

    def _probes(self, mixture: Mixture) -> list[Probe]:
        pool, probes = self.pool, list[Probe]()
        for row in range(len(pool)):
            golds = [Continuation(pool.golds[row])]
            if "lower_logprobs" in self._needs:
                golds.append(Continuation(pool.golds[row].lower()))
            if "prefix_logprobs" in self._needs:
                golds.append(Continuation(pool.golds[row], before=self._prefix()))
            probes.append(Probe(pool.prompts[row], mixture, tuple(golds)))
        if "population_logprobs" in self._needs:
            probes += [Probe(p, mixture, (Continuation(g),)) for p, g in pool.population[PREFIX:]]
        return probes

    def _extras(self) -> tuple[str, ...]:
        return tuple(n for n in ("lower_logprobs", "prefix_logprobs") if n in self._needs)

    def _prefix(self) -> str:
        return " ".join(gold for _, gold in self.pool.population[:PREFIX])

    # -- games, attacks, controls ------------------------------------------------------------------------

    def play(self, game: Game, examined: Examined, draws: int, seed: int) -> Played:
        """Play one game on one method's models with every attack."""
        dealt = [game.deal(t, merged, self.pool) for t, merged in examined.merged.items()]
        able = [d for d in dealt if d.reason is None]
        if not able:
            why = "; ".join(dict.fromkeys(d.reason or "" for d in dealt))
            return Played(game, examined.method, [], {}, {a.name: why for a in self.attacks}, [])
        signals = {d.target: self._signals(d, examined, base=False) for d in able}
        plain = {d.target: self._signals(d, examined, base=True) for d in able}
        scored, silent = [], dict[str, str]()
        for attack in self.attacks:
            try:
                scored.append(self._score(attack, able, signals, plain))
            except Undefined as why:
                silent[attack.name] = str(why)
        judged = judge(game, able, scored, seed=seed, draws=draws) if scored else []
        return Played(game, examined.method, able, {s.attack: s for s in scored}, silent, judged)

    def _signals(self, dealt: Dealt, examined: Examined, *, base: bool) -> Signals:
        assert self._base is not None
        community, pool = self.community, self.pool
        near = dict(
            zip((s.user.id for s in community.sharers), community.similarity(dealt.target), strict=True)
        )
        return signals_of(
            self._base if base else examined.seen[dealt.target],
            self._base,
            {t: seen for t, seen in examined.seen.items() if t != dealt.target},
            examined.merged,
            pool,
            dealt,
            np.array([near[owner] for owner in dealt.owners]),
        )

    def _score(
        self,
        attack: Attack,
        dealt: Sequence[Dealt],
        signals: Mapping[str, Signals],
        plain: Mapping[str, Signals],
    ) -> Scored:
        own = {d.target: _settled(attack, signals[d.target], d) for d in dealt}
        controls = {"base": {d.target: _settled(attack, plain[d.target], d)[0] for d in dealt}}
        for name, control in CONTROLS.items():
            controls[name] = {
                d.target: self._words_of(d, plain[d.target])
                if name == "bag_of_words"
                else settle(control.score(plain[d.target]))[0]
                for d in dealt
            }
        return Scored(
            attack.name,
            {t: s for t, (s, _) in own.items()},
            sum(count for _, count in own.values()),
            controls,
        )

    def _words_of(self, dealt: Dealt, signals: Signals) -> FloatArray:
        """Classify by words, once for each way of dealing: targets with the same sharers share it."""
        key = dealt.rows.tobytes() + dealt.members.tobytes()
        if key not in self._words:
            self._words[key] = settle(CONTROLS["bag_of_words"].score(signals))[0]
        return self._words[key]


def _settled(attack: Attack, signals: Signals, dealt: Dealt) -> tuple[FloatArray, int]:
    given = signals.only(attack.needs)
    return settle(returned(attack.name, attack.score(given), len(dealt.members)))


@dataclass(frozen=True, eq=False)
class Played:
    """One game of one core method, judged."""

    game: Game
    method: str
    dealt: Sequence[Dealt]
    """The targets it could be played on; empty where it says nothing of this method."""
    scored: Mapping[str, Scored]
    silent: Mapping[str, str]
    """Attack → why it has no figure."""
    judged: Sequence[Judged]

    def results(self, task: str, label: str) -> Iterator[Result]:
        """Yield the AUC and its controls of every attack, under a method's label."""
        for one in self.judged:
            figures = {"auc": one.estimate, **{f"auc_{name}": e for name, e in one.controls.items()}}
            for metric, e in figures.items():
                yield Result(
                    task,
                    label,
                    metric,
                    e.value,
                    e.ci,
                    e.n,
                    reason=e.reason,
                    targets=len(e.per_target),
                    member_sharers=e.member_sharers,
                    game=self.game.name,
                    attack=one.attack,
                )
        for attack, why in self.silent.items():
            for metric in ("auc", "auc_base", *(f"auc_{name}" for name in CONTROLS)):
                yield Result(
                    task, label, metric, None, None, 0, reason=why, game=self.game.name, attack=attack
                )

    def comparisons(self, task: str, label: str) -> Iterator[Comparison]:
        """Yield each attack's AUC minus the unmerged base's."""
        for one in self.judged:
            gap = one.base_difference
            if gap is not None:
                yield Comparison(
                    task,
                    label,
                    "base",
                    "auc",
                    gap.value,
                    gap.ci,
                    gap.n,
                    gap.reason,
                    self.game.name,
                    one.attack,
                )

    def leaks(self, task: str, label: str, pool: Pool) -> Iterator[Leak]:
        """Yield the panel of every attack: what stands beside the AUC, and the verdict."""
        both = self._both_sides(pool)
        for one in self.judged:
            best = one.best
            yield Leak(
                task,
                label,
                self.game.name,
                one.attack,
                one.estimate.value,
                one.estimate.ci,
                one.verdict.word,
                one.verdict.reason,
                one.p,
                one.p_adjusted,
                best.name if best else None,
                best.difference.value if best else None,
                best.difference.ci if best else None,
                dict(one.tpr),
                sum(int(d.members.sum()) for d in self.dealt),
                sum(int((~d.members).sum()) for d in self.dealt),
                one.undefined,
                both,
            )

    def _both_sides(self, pool: Pool) -> int:
        """Items, over all targets, whose text stands on both sides."""
        return sum(
            (found := both_sides(_texts(pool, d.rows), d.members)).members + found.others for d in self.dealt
        )

    def rows(self, task: str, pool: Pool) -> Iterator[dict[str, object]]:
        """Yield the rows of ``scores.jsonl``."""
        for scored in self.scored.values():
            for d in self.dealt:
                for row, owner, member, score in zip(
                    d.rows.tolist(),
                    d.owners,
                    d.members.tolist(),
                    scored.scores[d.target].tolist(),
                    strict=True,
                ):
                    yield {
                        "task": task,
                        "method": self.method,
                        "game": self.game.name,
                        "attack": scored.attack,
                        "target": d.target,
                        "sharer": owner,
                        "item": pool.ids[row],
                        "member": member,
                        "score": score,
                    }


def _texts(pool: Pool, rows: IntArray) -> list[str]:
    return [f"{pool.prompts[r]} {pool.golds[r]}" for r in rows]
