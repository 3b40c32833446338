"""From signals to judged figures: games, attacks and controls on what models said. No model, no torch.

``compare`` plays on what it has just observed, ``attack`` on what a run has stored: the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from prime_audit.audit.auc import FloatArray, Undefined
from prime_audit.audit.design import Dealt
from prime_audit.audit.judge import PERMUTATIONS, Judged, Scored, judge
from prime_audit.audit.pool import Pool
from prime_audit.audit.signals import Signals, settle
from prime_audit.errors import PartError
from prime_audit.faults import one_line
from prime_audit.games.exam.controls import CONTROLS, both_sides
from prime_audit.games.exam.observed import Observed, Shadow, signals_of
from prime_audit.games.exam.queries import queries_of
from prime_audit.games.exam.stored import Exam, Pass
from prime_audit.plugins import Attack, Game
from prime_audit.plugins.calling import dealt_of, scores_of
from prime_audit.record import FAILED, Comparison, Failure, Intervals, Leak, Result
from prime_audit.seeds import seed_of

if TYPE_CHECKING:
    from prime_audit.engine.memo import Keeper


@dataclass(frozen=True)
class Effort:
    """How many resamples and permutations a game's figures get."""

    draws: int = Intervals().draws
    """Bootstrap resamples."""
    permutations: int = PERMUTATIONS


ALL = Effort()
Stage = Callable[[str, str], AbstractContextManager[object]]
"""(method, name) → a stage of the run's account."""


def rounds(
    exam: Exam,
    games: Sequence[Game],
    attacks: Sequence[Attack],
    stage: Stage,
    effort: Effort = ALL,
    keeper: Keeper | None = None,
) -> Iterator[Played]:
    """Play ``games`` with ``attacks`` on everything that a task's exam holds.

    A pass counts for every method that it lists as a label. ``keeper`` caches the classifiers' scores of the
    bag-of-words control.
    """
    players = {
        name: Player(pool, attacks, exam.similarity, exam.base(name), keeper=keeper)
        for name, pool in exam.pools.items()
    }
    for one in exam.passes:
        for game in games:
            if one.method is not None and queries_of(game).name == one.kind:
                seed = seed_of(exam.seed, "bootstrap", exam.task, game.name)
                if one.why is not None:
                    yield Played.nothing(game, one, players[one.pool], one.why)
                    continue
                with stage(one.method, f"game {game.name}"):
                    yield players[one.pool].play(game, one, effort, seed)


class Player:
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

    def play(self, game: Game, one: Pass, effort: Effort, seed: int) -> Played:
        """Play one game on one method's models with every attack."""
        try:
            dealt = [dealt_of(game, one.audited(target), self.pool) for target in one.merged]
        except PartError as fault:
            failed = {attack.name: fault for attack in self.attacks}
            return replace(Played.nothing(game, one, self, FAILED + one_line(fault)), failed=failed)
        able = [d for d in dealt if d.reason is None]
        if not able:
            why = "; ".join(dict.fromkeys(d.reason or "" for d in dealt))
            return Played.nothing(game, one, self, why)
        shadows = queries_of(game).shadows(one, able, self.pool)
        signals = {d.target: self.signals(one, d, shadows, base=False) for d in able}
        plain = {d.target: self.signals(one, d, shadows, base=True) for d in able}
        scored, silent, failed = [], dict[str, str](), dict[str, PartError]()
        for attack in self.attacks:
            try:
                _require_people(attack, game)
                scored.append(self._score(game, attack, able, signals, plain))
            except Undefined as why:
                silent[attack.name] = str(why)
            except PartError as fault:  # of this attack: the others are played all the same
                silent[attack.name], failed[attack.name] = FAILED + one_line(fault), fault
        try:
            judged = judge(game.design, able, scored, seed=seed, **asdict(effort)) if scored else []
        except Undefined as why:  # every target's coins fell alike
            none = Played.nothing(game, one, self, str(why))
            return replace(none, silent={**none.silent, **silent}, failed=failed)
        return Played(
            game=game,
            one=one,
            pool=self.pool,
            dealt=able,
            scored={s.attack: s for s in scored},
            silent=silent,
            judged=judged,
            failed=failed,
        )

    def signals(self, one: Pass, dealt: Dealt, shadows: Mapping[str, Shadow], *, base: bool) -> Signals:
        """Take the signals of the rows dealt from a target's model, or from the unmerged ``base`` in its place."""
        assert self.base is not None
        target = dealt.target
        near = {target: 1.0, **self.similarity.get(target, {})}
        return signals_of(
            self.base if base else one.seen[target],
            self.base,
            {name: shadow for name, shadow in shadows.items() if name != target},
            one.merged,
            self.pool,
            dealt,
            np.array([near[owner] for owner in dealt.owners]),
        )

    def _score(
        self,
        game: Game,
        attack: Attack,
        dealt: Sequence[Dealt],
        signals: Mapping[str, Signals],
        plain: Mapping[str, Signals],
    ) -> Scored:
        """Score the items and their controls; a target with an undefined attack or base is left out of all."""
        raw = {d.target: scores_of(attack, signals[d.target]) for d in dealt}
        base = {d.target: scores_of(attack, plain[d.target]) for d in dealt}
        known = [d for d in dealt if not any(np.isnan(s[d.target]).all() for s in (raw, base))]
        items = sum(r.size for r in raw.values())
        if not known or (any(d.playable for d in dealt) and not any(d.playable for d in known)):
            raise Undefined(
                f"the score is undefined for all {items} items, or for all under the unmerged base"
            )
        found = {name: self._control(game, name, known, plain) for name in self.controls}
        settled = {d.target: settle(base[d.target])[0] for d in known}
        controls = {name: scores for name, scores in found.items() if not isinstance(scores, str)}
        return Scored(
            attack=attack.name,
            scores={d.target: settle(raw[d.target])[0] for d in known},
            undefined=sum(int(np.isnan(r).sum()) for r in raw.values()),
            controls={"base": settled, **controls},
            silent={name: why for name, why in found.items() if isinstance(why, str)},
            undefined_base=sum(int(np.isnan(r).sum()) for r in base.values()),
            items=items,
        )

    def _control(
        self, game: Game, name: str, dealt: Sequence[Dealt], plain: Mapping[str, Signals]
    ) -> dict[str, FloatArray] | str:
        """Score one control for every target with two sides; where it is undefined for one, the reason instead."""
        try:
            return {d.target: self._control_of(game, name, d, plain[d.target]) for d in dealt if d.playable}
        except Undefined as why:
            return f"the control says nothing of a target: {why}"

    def _control_of(self, game: Game, name: str, dealt: Dealt, signals: Signals) -> FloatArray:
        if name == "bag_of_words":
            words = queries_of(game).words(game.design.whole, dealt, signals, self.pool, self.keeper)
            return settle(words)[0]
        if name == "similarity_only" and set(dealt.owners) == {dealt.target}:
            raise Undefined("all items are the target's own, equally similar to her")
        return settle(CONTROLS[name].score(signals))[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class Played:
    """One game on one pass, judged."""

    game: Game
    one: Pass
    pool: Pool
    dealt: Sequence[Dealt] = ()
    """The targets it could be played on; empty where it does not apply to this method."""
    scored: Mapping[str, Scored] = field(default_factory=dict)
    silent: Mapping[str, str]
    """Attack → why it has no figure."""
    judged: Sequence[Judged] = ()
    failed: Mapping[str, PartError] = field(default_factory=dict)
    """Attack → what it failed by; ``silent`` says so too."""

    @classmethod
    def nothing(cls, game: Game, one: Pass, player: Player, why: str) -> Played:
        """Return a game that does not apply to a pass, with the same reason for every attack."""
        return cls(game=game, one=one, pool=player.pool, silent={a.name: why for a in player.attacks})

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
            where = Failure(
                task=task,
                stage=f"game {self.game.name}",
                method=self.one.method,
                attack=attack,
                targets=targets,
            )
            yield where, fault

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

    def leaks(self, task: str, label: str) -> Iterator[Leak]:
        """Yield the panel of every attack: what is shown beside the AUC, and the verdict."""
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
                p=one.p_deciding,
                p_adjusted=one.p_adjusted,
                best_control=best.name if best else None,
                over_control=best.difference.value if best else None,
                over_control_ci=best.difference.ci if best else None,
                tpr=dict(one.tpr),
                members=sum(int(d.members.sum()) for d in dealt),
                others=sum(int((~d.members).sum()) for d in dealt),
                undefined=one.undefined,
                undefined_base=one.undefined_base,
                both_sides=sum(_on_both_sides(self.pool, d, self.one.merged[d.target]) for d in dealt),
                epsilon=one.epsilon.value if one.epsilon else None,
                epsilon_ceiling=one.epsilon.ceiling if one.epsilon else None,
            )

    def _dealt(self, attack: str) -> list[Dealt]:
        """List the targets with scores of an attack."""
        return [d for d in self.dealt if d.target in self.scored[attack].scores]

    def rows(self, task: str) -> Iterator[dict[str, object]]:
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
                        "method": self.one.method,
                        "game": self.game.name,
                        "attack": scored.attack,
                        "target": d.target,
                        "sharer": owner,
                        "item": self.pool.ids[row],
                        "member": member,
                        "score": score,
                    }


def _require_people(attack: Attack, game: Game) -> None:
    if attack.people and not game.design.of_people:
        raise Undefined("scores people, and here each person has items on both sides")


def _on_both_sides(pool: Pool, dealt: Dealt, merged: Sequence[str]) -> int:
    """Count one target's items that membership does not separate.

    Members whose text is also a non-member's, and non-members whose text is also a member's, or an item that the
    target's own model or a merged sharer's adapter was trained on although they are not in play.
    """
    texts = [f"{pool.prompts[r]} {pool.golds[r]}" for r in dealt.rows]
    inside, outside = both_sides(texts, dealt.members)
    trainers = {dealt.target, *merged}
    rows = zip(dealt.rows.tolist(), dealt.members.tolist(), outside.tolist(), strict=True)
    seen = sum(not member and (twin or bool(trainers & set(pool.twins[r]))) for r, member, twin in rows)
    return int(np.count_nonzero(inside)) + int(seen)
