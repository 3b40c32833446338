"""From signals to judged figures: games, attacks and controls on what models said. No model, no torch.

``compare`` plays on what it has just observed, ``attack`` on what a run has stored: the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace

import numpy as np

from prime_audit.audit.auc import FloatArray, Undefined
from prime_audit.audit.design import Dealt
from prime_audit.audit.duplicates import marked
from prime_audit.audit.judge import Entry, Scored, judge_all
from prime_audit.audit.permutation import PERMUTATIONS
from prime_audit.audit.pool import Pool
from prime_audit.audit.signals import ITEM_FIELDS, WHITE_BOX, Signals, settle, settle_both
from prime_audit.engine.memo import Keeper
from prime_audit.errors import PartError
from prime_audit.faults import one_line
from prime_audit.games.exam.controls import CONTROLS
from prime_audit.games.exam.observed import Observed, Shadow, signals_of
from prime_audit.games.exam.played import Played
from prime_audit.games.exam.queries import queries_of
from prime_audit.games.exam.stored import Exam, Pass
from prime_audit.games.exam.vulnerable import vulnerable
from prime_audit.plugins import Attack, Game
from prime_audit.plugins.calling import dealt_of, naming, scores_of
from prime_audit.record import FAILED
from prime_audit.seeds import seed_of


@dataclass(frozen=True)
class Effort:
    """How many relabellings a game's p-values rest on."""

    permutations: int = PERMUTATIONS


ALL = Effort()
Stage = Callable[[str | None, str], AbstractContextManager[object]]
"""(method, name) → a stage of the run's account; None: all methods together."""


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
    found = list[Played]()
    for one in exam.passes:
        for game in games:
            if one.method is None or queries_of(game).name != one.kind:
                continue
            if one.why is not None:
                found.append(players[one.pool].nothing(game, one, one.why))
                continue
            with stage(one.method, f"game {game.name}"):
                found.append(players[one.pool].score(game, one))
    for game in games:
        places = [place for place, played in enumerate(found) if played.game is game and played.scored]
        if places:
            with stage(None, f"game {game.name}"):
                seed = seed_of(exam.seed, "bootstrap", exam.task, game.name)
                for place, played in zip(
                    places, judged([found[place] for place in places], effort, seed), strict=True
                ):
                    found[place] = played
    yield from found


def judged(played: Sequence[Played], effort: Effort, seed: int) -> list[Played]:
    """Judge all methods of one game together: their attacks are one family of tests."""
    entries = [Entry(dealt=one.dealt, scored=list(one.scored.values())) for one in played]
    found = judge_all(played[0].game.design, entries, seed=seed, **asdict(effort))
    return [replace(one, judged=own) for one, own in zip(played, found, strict=True)]


@dataclass(frozen=True, eq=False)
class Player:
    """Plays games with attacks on what models said of one pool."""

    pool: Pool
    attacks: Sequence[Attack]
    similarity: Mapping[str, Mapping[str, float]]
    base: Observed | None
    controls: Sequence[str] = tuple(CONTROLS)
    keeper: Keeper | None = None

    def play(self, game: Game, one: Pass, effort: Effort, seed: int) -> Played:
        """Play one game on one method's models with every attack, and judge it by itself."""
        played = self.score(game, one)
        return judged([played], effort, seed)[0] if played.scored else played

    def score(self, game: Game, one: Pass) -> Played:
        """Score one game on one method's models with every attack; not judged yet."""
        try:
            dealt = [self._dealt(game, one, target) for target in one.merged]
            able = [d for d in dealt if d.reason is None]
            with naming("game", game.name):
                shadows = queries_of(game).shadows(one, able, self.pool)
        except PartError as fault:
            failed = {attack.name: fault for attack in self.attacks}
            return replace(self.nothing(game, one, FAILED + one_line(fault)), failed=failed)
        if not able:
            return self.nothing(game, one, "; ".join(dict.fromkeys(d.reason or "" for d in dealt)))
        if not any(d.playable for d in able):  # every target's coins fell alike
            return self.nothing(game, one, "no target has both members and non-members")
        signals = {d.target: self.signals(one, d, shadows, base=False) for d in able}
        plain = {d.target: self.signals(one, d, shadows, base=True) for d in able}
        scored, silent, failed = [], dict[str, str](), dict[str, PartError]()
        for attack in self.attacks:
            try:
                _require_able(game, attack, self.pool)
                scored.append(self._score(game, attack, able, signals, plain))
            except Undefined as why:
                silent[attack.name] = str(why)
            except PartError as fault:  # of this attack: the others are played all the same
                silent[attack.name], failed[attack.name] = FAILED + one_line(fault), fault
        scored = marked(scored)
        return Played(
            game=game,
            one=one,
            pool=self.pool,
            dealt=able,
            scored={s.attack: s for s in scored},
            silent=silent,
            failed=failed,
            records=vulnerable(game, one, able, self.pool),
        )

    def _dealt(self, game: Game, one: Pass, target: str) -> Dealt:
        """Deal a game to one target; a row of the pool is the same item in every target's game."""
        dealt = dealt_of(game, one.audited(target), self.pool)
        return (
            replace(dealt, items=[str(row) for row in dealt.rows.tolist()]) if dealt.items is None else dealt
        )

    def nothing(self, game: Game, one: Pass, why: str) -> Played:
        """Return a game that does not apply to a pass, with its reason."""
        return Played(game=game, one=one, pool=self.pool, silent={a.name: why for a in self.attacks})

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
            one.seen[target].shadow_nll,
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
        known = [d for d in dealt if not (np.isnan(raw[d.target]) | np.isnan(base[d.target])).all()]
        items = sum(r.size for r in raw.values())
        if not known or (any(d.playable for d in dealt) and not any(d.playable for d in known)):
            raise Undefined(
                f"the score is undefined for all {items} items, or for all under the unmerged base"
            )
        both = {d.target: settle_both(raw[d.target], base[d.target]) for d in known}
        controls, none = {"base": {target: plain for target, (_, plain, _) in both.items()}}, dict[str, str]()
        for name in self.controls:
            try:
                controls[name] = {
                    d.target: self._control(game, name, d, plain[d.target]) for d in known if d.playable
                }
            except Undefined as why:
                none[name] = f"the control says nothing of a target: {why}"  # in published records
        return Scored(
            attack=attack.name,
            scores={target: own for target, (own, *_) in both.items()},
            undefined=sum(int(np.isnan(r).sum()) for r in raw.values()),
            controls=controls,
            silent=none,
            undefined_base=sum(int(np.isnan(r).sum()) for r in base.values()),
            undefined_either=sum(int((np.isnan(raw[t]) | np.isnan(base[t])).sum()) for t in raw),
            items=items,
            paired={target: paired for target, (*_, paired) in both.items()},
        )

    def _control(self, game: Game, name: str, dealt: Dealt, signals: Signals) -> FloatArray:
        if name == "bag_of_words":
            with naming("game", game.name, Undefined):
                words = queries_of(game).words(game.design.whole, dealt, signals, self.pool, self.keeper)
            return settle(words)[0]
        if name == "similarity_only" and set(dealt.owners) == {dealt.target}:
            raise Undefined("all items are the target's own, equally similar to her")  # in published records
        return settle(CONTROLS[name](signals))[0]


def _require_able(game: Game, attack: Attack, pool: Pool) -> None:
    """Raise Undefined where an attack's signals say nothing of what a game asks about."""
    needs = set(attack.needs)
    if attack.people and not game.design.of_people:
        raise Undefined("scores people, and here each person has items on both sides")
    if needs & set(ITEM_FIELDS) and game.design.of_people:
        raise Undefined("scores single items, and here all of a person's items are on one side")
    if needs & set(ITEM_FIELDS) and not len(pool.inside):
        raise Undefined("compares shadow adapters, and this game's items have none")
    if needs & set(WHITE_BOX) and not queries_of(game).single:
        raise Undefined("reads the factors of one adapter, and this game queries merged models")
