"""From signals to judged figures: games, attacks and controls on what models said. No model, no torch.

``compare`` plays on what it has just observed, ``attack`` on what a run has stored: the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from prime_audit.audit.auc import FloatArray, Undefined
from prime_audit.audit.signals import Signals, settle
from prime_audit.errors import PartError
from prime_audit.faults import one_line
from prime_audit.games.controls import CONTROLS, bag_of_words, bag_of_words_between, both_sides
from prime_audit.games.deal import GAMES, Dealt, Game, by_coin
from prime_audit.games.judge import PERMUTATIONS, Judged, Scored, judge
from prime_audit.games.observed import Observed, Shadow, signals_of
from prime_audit.games.pool import Pool
from prime_audit.games.stored import Exam, Kind, Pass
from prime_audit.plugins import Attack
from prime_audit.plugins.calling import scores_of
from prime_audit.record import FAILED, Comparison, Failure, Intervals, Leak, Result
from prime_audit.seeds import seed_of

if TYPE_CHECKING:
    from prime_audit.engine.memo import Keeper

Rounds = Iterator[tuple["Played", Pool, Sequence[str]]]
"""Games as they were played, each with its pool and the methods it is a figure of."""


@dataclass(frozen=True)
class Effort:
    """How often a game's figures are drawn again."""

    draws: int = Intervals().draws
    """Bootstrap resamples."""
    permutations: int = PERMUTATIONS


ALL = Effort()
Stage = Callable[[str, str], AbstractContextManager[object]]
"""(method, name) → a stage of the run's account."""


def rounds(
    exam: Exam,
    games: Sequence[str],
    attacks: Sequence[Attack],
    stage: Stage,
    effort: Effort = ALL,
    keeper: Keeper | None = None,
) -> Rounds:
    """Play ``games`` (names) with ``attacks`` on everything that a task's exam holds.

    What is attacked is the module, so a game counts for every method that deploys it; the target game asks whole
    systems, and counts for its own method. ``keeper`` keeps the classifiers' scores of the bag-of-words control.
    """
    makers = {"modules": Play, "inclusion": InclusionPlay, "target": TargetPlay}
    players = {
        kind: makers[kind](exam.pool(kind), attacks, exam.similarity, exam.base(kind), keeper=keeper)
        for kind in {p.kind for p in exam.passes}
    }
    for one in exam.passes:
        for game in (GAMES[name] for name in games if kind_of(name) == one.kind and one.method is not None):
            yield _round(players[one.kind], exam, one, game, stage, effort), exam.pool(one.kind), one.labels


def kind_of(game: str) -> Kind:
    """Tell which kind of pass a game is played on."""
    return "inclusion" if game == "inclusion" else "target" if game == "target" else "modules"


def _round(player: Play, exam: Exam, one: Pass, game: Game, stage: Stage, effort: Effort) -> Played:
    assert one.method is not None
    if one.why is not None:
        return Played.nothing(game, one.method, player.attacks, one.why)
    if one.kind == "inclusion":
        game = replace(game, deal=partial(by_coin, one.coins))
    seed = seed_of(exam.seed, "bootstrap", exam.task, game.name)
    with stage(one.method, f"game {game.name}"):
        return player.play(game, Examined(one.method, one.merged, one.seen), effort, seed)


@dataclass(frozen=True, eq=False)
class Examined:
    """One core method's models over the pool, and who is merged in each."""

    method: str
    merged: Mapping[str, tuple[str, ...]]
    """Target → the sharers merged in her model."""
    seen: Mapping[str, Observed]
    """Target → what her model said of the pool; only of targets with a game to play."""


class Play:
    """Plays games with attacks on what models said of one pool."""

    def __init__(
        self,
        pool: Pool,
        attacks: Sequence[Attack],
        similarity: Mapping[str, Mapping[str, float]],
        base: Observed | None,
        controls: Sequence[str] = tuple(CONTROLS),
        keeper: Keeper | None = None,
    ) -> None:
        self.pool, self.attacks, self.similarity, self.base = pool, attacks, similarity, base
        self.controls, self.keeper = controls, keeper

    def play(self, game: Game, examined: Examined, effort: Effort, seed: int) -> Played:
        """Play one game on one method's models with every attack."""
        dealt = [game.deal(t, merged, self.pool) for t, merged in examined.merged.items()]
        able = [d for d in dealt if d.reason is None]
        if not able:
            why = "; ".join(dict.fromkeys(d.reason or "" for d in dealt))
            return Played.nothing(game, examined.method, self.attacks, why)
        shadows = self._shadows(examined, able)
        signals = {d.target: self._signals(d, examined, shadows, base=False) for d in able}
        plain = {d.target: self._signals(d, examined, shadows, base=True) for d in able}
        scored, silent, failed = [], dict[str, str](), dict[str, PartError]()
        for attack in self.attacks:
            try:
                _require_people(attack, game)
                scored.append(self._score(attack, able, signals, plain))
            except Undefined as why:
                silent[attack.name] = str(why)
            except PartError as fault:  # of this attack: the others are played all the same
                silent[attack.name], failed[attack.name] = FAILED + one_line(fault), fault
        try:
            judged = judge(game, able, scored, seed=seed, **asdict(effort)) if scored else []
        except Undefined as why:  # every target's coins fell alike
            none = Played.nothing(game, examined.method, self.attacks, str(why))
            return replace(none, silent={**none.silent, **silent}, failed=failed)
        found = {s.attack: s for s in scored}
        return Played(game, examined.method, examined.merged, able, found, silent, judged, failed)

    def _signals(
        self, dealt: Dealt, examined: Examined, shadows: Mapping[str, Shadow], *, base: bool
    ) -> Signals:
        assert self.base is not None
        near = self.similarity[dealt.target]
        return signals_of(
            self.base if base else examined.seen[dealt.target],
            self.base,
            {target: shadow for target, shadow in shadows.items() if target != dealt.target},
            examined.merged,
            self.pool,
            dealt,
            np.array([near[owner] for owner in dealt.owners]),
        )

    def _shadows(self, examined: Examined, dealt: Sequence[Dealt]) -> dict[str, Shadow]:
        """All targets' models, which a community LiRA takes as each other's IN and OUT models; the base comes apart.

        Where non-members are sampled, a model counts for what this game dealt its target alone: by what other games
        asked of it, trained items would have more OUT models than held-out ones, and a score could tell them by that.
        """
        if not self.pool.sampled:
            return {target: Shadow.of(seen) for target, seen in examined.seen.items()}
        return {d.target: Shadow.of(examined.seen[d.target], d.rows) for d in dealt}

    def _score(
        self,
        attack: Attack,
        dealt: Sequence[Dealt],
        signals: Mapping[str, Signals],
        plain: Mapping[str, Signals],
    ) -> Scored:
        """Score the items and their controls; a target of whom attack or base says nothing is left out of all."""
        raw = {d.target: scores_of(attack, signals[d.target]) for d in dealt}
        base = {d.target: scores_of(attack, plain[d.target]) for d in dealt}
        known = [d for d in dealt if not any(np.isnan(s[d.target]).all() for s in (raw, base))]
        items = sum(r.size for r in raw.values())
        if not known or (any(d.playable for d in dealt) and not any(d.playable for d in known)):
            raise Undefined(
                f"the score is undefined for all {items} items, or for all under the unmerged base"
            )
        found = {name: self._control(name, known, plain) for name in self.controls}
        settled = {d.target: settle(base[d.target])[0] for d in known}
        controls = {name: scores for name, scores in found.items() if not isinstance(scores, str)}
        return Scored(
            attack.name,
            {d.target: settle(raw[d.target])[0] for d in known},
            sum(int(np.isnan(r).sum()) for r in raw.values()),
            {"base": settled, **controls},
            {name: why for name, why in found.items() if isinstance(why, str)},
            sum(int(np.isnan(r).sum()) for r in base.values()),
            items,
        )

    def _control(
        self, name: str, dealt: Sequence[Dealt], plain: Mapping[str, Signals]
    ) -> dict[str, FloatArray] | str:
        """Score one control for every target with two sides; where it says nothing of one, the reason instead."""
        try:
            return {d.target: self._control_of(name, d, plain[d.target]) for d in dealt if d.playable}
        except Undefined as why:
            return f"the control says nothing of a target: {why}"

    def _control_of(self, name: str, dealt: Dealt, signals: Signals) -> FloatArray:
        if name == "bag_of_words":
            return settle(self._words_of(dealt, signals))[0]
        return settle(CONTROLS[name].score(signals))[0]

    def _words_of(self, dealt: Dealt, signals: Signals) -> FloatArray:
        """Classify by words."""
        return bag_of_words(signals, self.keeper)


class InclusionPlay(Play):
    """The inclusion game: whole sharers are members, by coin."""

    def _shadows(self, examined: Examined, dealt: Sequence[Dealt]) -> dict[str, Shadow]:
        """None: other targets' models tell other coins, and a score that reads coins breaks test and bound."""
        return {}

    def _words_of(self, dealt: Dealt, signals: Signals) -> FloatArray:
        """Classify by words with whole sharers held apart: her other items would tell her coin."""
        return bag_of_words_between(signals, dealt.owners, self.keeper)


class TargetPlay(Play):
    """The target game: every target's own items, under her whole system."""

    def _shadows(self, examined: Examined, dealt: Sequence[Dealt]) -> dict[str, Shadow]:
        """None: other targets' systems are not asked for her items."""
        return {}

    def _signals(
        self, dealt: Dealt, examined: Examined, shadows: Mapping[str, Shadow], *, base: bool
    ) -> Signals:
        assert self.base is not None
        floor = self.base
        own = floor if base else examined.seen[dealt.target]
        return signals_of(own, floor, shadows, {}, self.pool, dealt, np.ones(len(dealt.rows)))

    def _control_of(self, name: str, dealt: Dealt, signals: Signals) -> FloatArray:
        if name == "similarity_only":
            raise Undefined("all items are the target's own, equally similar to her")
        return super()._control_of(name, dealt, signals)

    def _words_of(self, dealt: Dealt, signals: Signals) -> FloatArray:
        """Classify all targets' items by words together: one target's are too few to learn from."""
        pool = self.pool
        everything = Signals(prompts=pool.prompts, texts=pool.golds, members=pool.trained)
        return settle(bag_of_words(everything, self.keeper))[0][dealt.rows]


@dataclass(frozen=True, eq=False)
class Played:
    """One game of one core method, judged."""

    game: Game
    method: str
    merged: Mapping[str, Sequence[str]]
    """Target → the sharers merged in her model."""
    dealt: Sequence[Dealt]
    """The targets it could be played on; empty where it says nothing of this method."""
    scored: Mapping[str, Scored]
    silent: Mapping[str, str]
    """Attack → why it has no figure."""
    judged: Sequence[Judged]
    failed: Mapping[str, PartError] = field(default_factory=dict)
    """Attack → what it failed by; ``silent`` says so too."""

    @classmethod
    def nothing(cls, game: Game, method: str, attacks: Sequence[Attack], why: str) -> Played:
        """Return a game that says nothing of a method, with the same reason for every attack."""
        return cls(game, method, {}, [], {}, {a.name: why for a in attacks}, [])

    def results(self, task: str, label: str) -> Iterator[Result]:
        """Yield the AUC and its controls of every attack, under a method's label."""
        for one in self.judged:
            figures = {"auc": one.estimate, **{f"auc_{name}": e for name, e in one.controls.items()}}
            for metric, e in figures.items():
                yield Result(
                    task=task,
                    method=label,
                    metric=metric,
                    value=e.value,
                    ci=e.ci,
                    n=e.n,
                    reason=e.reason,
                    targets=len(e.per_target),
                    member_sharers=e.member_sharers,
                    game=self.game.name,
                    attack=one.attack,
                )
        for attack, metric, why in self._without():
            yield Result(
                task=task,
                method=label,
                metric=metric,
                value=None,
                ci=None,
                n=0,
                reason=why,
                game=self.game.name,
                attack=attack,
            )

    def faults(self, task: str) -> Iterator[tuple[Failure, PartError]]:
        """Yield each attack that failed: where, and by what."""
        targets = len(self.dealt)
        for attack, fault in self.failed.items():
            yield (
                Failure(
                    task=task,
                    stage=f"game {self.game.name}",
                    method=self.method,
                    attack=attack,
                    targets=targets,
                ),
                fault,
            )

    def _without(self) -> Iterator[tuple[str, str, str]]:
        """Yield what has a reason instead of a figure: attack, metric, why."""
        for scored in self.scored.values():
            for name, why in scored.silent.items():
                yield scored.attack, f"auc_{name}", why
        for attack, why in self.silent.items():
            for metric in ("auc", "auc_base", *(f"auc_{name}" for name in CONTROLS)):
                yield attack, metric, why

    def comparisons(self, task: str, label: str) -> Iterator[Comparison]:
        """Yield each attack's AUC minus the unmerged base's."""
        for one in self.judged:
            gap = one.base_difference
            if gap is not None:
                yield Comparison(
                    task=task,
                    method=label,
                    baseline="base",
                    metric="auc",
                    difference=gap.value,
                    ci=gap.ci,
                    n=gap.n,
                    reason=gap.reason,
                    game=self.game.name,
                    attack=one.attack,
                )

    def leaks(self, task: str, label: str, pool: Pool) -> Iterator[Leak]:
        """Yield the panel of every attack: what stands beside the AUC, and the verdict."""
        for one in self.judged:
            best, dealt = one.best, self._dealt(one.attack)
            yield Leak(
                task=task,
                method=label,
                game=self.game.name,
                attack=one.attack,
                auc=one.estimate.value,
                ci=one.estimate.ci,
                verdict=one.verdict.word,
                why=one.verdict.reason,
                p=one.p,
                p_adjusted=one.p_adjusted,
                best_control=best.name if best else None,
                over_control=best.difference.value if best else None,
                over_control_ci=best.difference.ci if best else None,
                tpr=dict(one.tpr),
                members=sum(int(d.members.sum()) for d in dealt),
                others=sum(int((~d.members).sum()) for d in dealt),
                undefined=one.undefined,
                undefined_base=one.undefined_base,
                both_sides=sum(_on_both_sides(pool, d, self.merged.get(d.target, ())) for d in dealt),
                epsilon=one.epsilon.value if one.epsilon else None,
                epsilon_ceiling=one.epsilon.ceiling if one.epsilon else None,
            )

    def _dealt(self, attack: str) -> list[Dealt]:
        """List the targets of whom an attack says something."""
        return [d for d in self.dealt if d.target in self.scored[attack].scores]

    def rows(self, task: str, pool: Pool) -> Iterator[dict[str, object]]:
        """Yield the rows of ``scores.jsonl``."""
        for scored in self.scored.values():
            for d in self._dealt(scored.attack):
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


def _require_people(attack: Attack, game: Game) -> None:
    if attack.people and not game.of_people:
        raise Undefined("scores people, and here each person has items on both sides")


def _on_both_sides(pool: Pool, dealt: Dealt, merged: Sequence[str]) -> int:
    """Count one target's items that membership does not tell apart.

    Members whose text is also a non-member's, and non-members whose text is also a member's, or an item that the
    target's own model or a merged sharer's adapter was trained on without its being in play.
    """
    texts = [f"{pool.prompts[r]} {pool.golds[r]}" for r in dealt.rows]
    inside, outside = both_sides(texts, dealt.members)
    trainers = {dealt.target, *merged}
    rows = zip(dealt.rows.tolist(), dealt.members.tolist(), outside.tolist(), strict=True)
    seen = sum(not member and (twin or bool(trainers & set(pool.twins[r]))) for r, member, twin in rows)
    return int(np.count_nonzero(inside)) + int(seen)
