"""What a game asks of which models: the items, and one pass of every target's model over them (``play`` does the rest).

:class:`Queries` is the usual way: models as deployed, queried with the sharers' items. A game with other needs has a
subclass of its own. Games with the same class share its passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from prime_audit.audit.auc import BoolArray, FloatArray, IntArray
from prime_audit.audit.design import Dealt
from prime_audit.audit.pool import Pool
from prime_audit.audit.signals import WHITE_BOX, Signals, halves
from prime_audit.audit.strata import sampled, strata_of
from prime_audit.community.shadows import in_play
from prime_audit.engine.mixture import BASE, Continuation, Mixture, Probe, Request
from prime_audit.errors import PartError, UserError
from prime_audit.games.exam.controls import bag_of_words
from prime_audit.games.exam.observed import BEHIND, FIELDS, VOCABULARY, Observed, Shadow, written
from prime_audit.games.exam.shadowed import EMPTY, shadowed
from prime_audit.games.exam.stored import Pass
from prime_audit.lamp.prompts import Example, history_examples
from prime_audit.lamp.readers import searchable
from prime_audit.plugins import Attack, Game, Personal
from prime_audit.plugins.calling import dealt_of
from prime_audit.seeds import rng_of

if TYPE_CHECKING:
    from prime_audit.community.build import Community
    from prime_audit.lamp.data import Dataset, User
    from prime_audit.plan.plan import MethodSpec
    from prime_audit.settings import Settings

Models = Mapping[str, Personal]
"""Target → their model."""
Remake = Callable[["Community", str, str], Models]
"""(community, core's label, ``Queries.name``) → its models made once more, as that community allows."""
PREFIX = 1
"""Known non-members of whose golds ReCaLL's prefix is made; they are no part of the population that is scored.

Every item is read again behind the prefix: one headline of it costs 17 % of the loss attack's tokens, three 33 %."""
SAMPLES = 5
"""Continuations sampled of an item where an attack needs them (fast-mia's number)."""
NEW_TOKENS = 32
"""The most tokens of one continuation."""
FREELY: Mapping[str, Any] = {"temperature": 1.0, "top_p": 1.0, "top_k": 50}
"""How they are sampled (Kaneko et al. 2025)."""


class Queries:
    """Targets' models as deployed, each queried with the sharers' items."""

    name: ClassVar[str] = "modules"
    """Names its passes: in an exam, in the stored signals, and in a run's ``models.jsonl`` where models are remade.
    A subclass that gives none is named by its module and class."""
    pool: ClassVar[str] = "sharers"
    """Names its items, which share one pass of the base. Set here: a subclass with ``items`` of its own has its own."""
    stage: ClassVar[str] = "signals"
    """What a pass is called in the run's account."""
    shadowed: ClassVar[bool] = True
    """Whether other targets' models are shadow models: each is then queried with what others are dealt, too. Where
    non-members are sampled, a model is one for what it is queried with anyway."""

    remakes: ClassVar[bool] = False
    """Whether models are remade for it (``self.remake``), not queried as deployed."""
    single: ClassVar[bool] = False
    """Whether each model is one adapter beside the base: only its passes have ``WHITE_BOX``, the factors' signals."""
    plants: ClassVar[bool] = False
    """Whether it asks for canaries: its games are played where a run has some, and there only."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in vars(cls):
            cls.name = f"{cls.__module__}.{cls.__qualname__}"
        owner = next(c for c in cls.__mro__ if "items" in vars(c))
        cls.pool = owner.pool if owner is not cls and issubclass(owner, Queries) else f"{cls.name} items"

    def __init__(self, reader: Reader, games: Sequence[Game], data: Dataset, remake: Remake) -> None:
        self.reader, self.games, self.data, self.remake = reader, games, data, remake

    # -- before models are made ----------------------------------------------------------------------------

    @classmethod
    def hold_back(cls, data: Dataset, settings: Settings, seed: int) -> Dataset:
        """Return the data as methods may see them."""
        return data

    # -- asking ----------------------------------------------------------------------------------------------

    @classmethod
    def items(cls, community: Community, data: Dataset) -> Pool:
        """Gather the items; ``data`` are those before anything was held back."""
        return sharers_items(community)

    @staticmethod
    def label(spec: MethodSpec) -> str:
        """Name the model that a method is queried by; methods with one name share a pass.

        Those that ``nothing`` gives a reason for have one of their own.
        """
        return spec.core.label

    @classmethod
    def nothing(cls, made: Sequence[Models]) -> str | None:
        """Say why a method's models (chunk by chunk) are not queried; None where they are."""
        return None

    def ask(self, community: Community, spec: MethodSpec, models: Models) -> Pass:
        """Query the models of one chunk of targets, whose community is given."""
        return self.see(spec, models)

    @classmethod
    def cautions(cls, community: Community, data: Dataset, passes: Sequence[Pass]) -> list[str]:
        """Say what a reader must know before believing the games' figures; ``passes`` are all of this class."""
        return []

    # -- playing, without a model ----------------------------------------------------------------------------

    @classmethod
    def shadows(cls, one: Pass, dealt: Sequence[Dealt], pool: Pool) -> dict[str, Shadow]:
        """All targets' models, which a community LiRA takes as each other's IN and OUT models; the base comes apart.

        Where non-members are sampled, a model counts for what this game dealt its target alone: with what other
        games query, trained items would have more OUT models than held-out ones, and a score could use that.
        """
        if not cls.shadowed:
            return {}
        if not pool.sampled:
            return {target: Shadow.of(seen) for target, seen in one.seen.items()}
        return {d.target: Shadow.of(one.seen[d.target], d.rows) for d in dealt}

    @classmethod
    def words(cls, whole: bool, dealt: Dealt, signals: Signals, pool: Pool, keeper: Any) -> FloatArray:
        """Score the items dealt by their words alone; ``whole`` sharers are held apart, for one coin is all theirs."""
        return bag_of_words(signals, keeper, dealt.owners if whole else None)

    # -- for subclasses --------------------------------------------------------------------------------------

    @property
    def fields(self) -> tuple[str, ...]:
        """What a pass observes."""
        return tuple(f for f in self.reader.fields if self.single or f not in WHITE_BOX)

    def blank(self, spec: MethodSpec, **more: Any) -> Pass:
        """Return a method's pass before anything was asked."""
        return Pass(kind=self.name, pool=self.pool, method=self.label(spec), **more)

    def see(
        self, spec: MethodSpec, models: Models, coins: Mapping[str, Mapping[str, bool]] | None = None
    ) -> Pass:
        """Query every model that some game can be played on, once, with what the games need of it."""
        merged = {target: tuple(p.sharers) for target, p in models.items()}
        one = self.blank(spec, merged=merged, coins=coins or {})
        rows = {target: self._rows(one, target) for target in models}
        able = [target for target in models if rows[target].size]
        if able:
            self.reader.see_base()
        rest = [t for t in able if models[t].mixture.names]
        asked = [self.reader.probes(models[t].mixture, rows[t].tolist()) for t in rest]
        found = self.reader.observe(f"{one.method} · {self.stage}", asked) if rest else []
        total = len(self.reader.pool)
        seen = {t: own.spread(rows[t], total) for t, own in zip(rest, found, strict=True)}
        if rest and self._of_items():
            mixtures = {t: models[t].mixture for t in rest}
            nll = shadowed(self.reader.community, self.reader.pool, str(one.method), mixtures, rows)
            seen = {t: replace(own, shadow_nll=nll[t]) for t, own in seen.items()}
        # A model without merged sharers is the base, which was queried already.
        return replace(one, seen={t: seen[t] if t in seen else self.reader.see_base() for t in able})

    def _of_items(self) -> bool:
        """Whether the run has shadow adapters, and a game asks about single items."""
        return len(self.reader.pool.inside) > 0 and not all(game.design.of_people for game in self.games)

    def _rows(self, one: Pass, target: str) -> IntArray:
        """Rows that a target's model is queried with: all that others may be dealt, or what this target is dealt."""
        pool = self.reader.pool
        own = list[IntArray]()
        for game in self.games:
            # A game that fails here fails again where it is played, and is logged there.
            with suppress(PartError):
                dealt = dealt_of(game, one.audited(target), pool)
                own += [dealt.rows] if dealt.reason is None else []
        if own and self.shadowed and not pool.sampled:
            return np.arange(len(pool))
        return np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *own]))


def queries_of(game: Game) -> type[Queries]:
    """Return how a game queries models; UserError where it declares something else."""
    found = Queries if game.queries is None else game.queries
    if not (isinstance(found, type) and issubclass(found, Queries)):
        raise UserError(
            f"game {game.name}: queries= is no subclass of prime_audit.games.exam.queries.Queries; name one"
        )
    return found


class Reader:
    """The items of one pool, and what models say of them; the base's pass is shared by all methods."""

    def __init__(self, community: Community, pool: Pool, attacks: Sequence[Attack]) -> None:
        self.community, self.pool = community, pool
        self.base: Observed | None = None
        self._needs = {need for attack in attacks for need in attack.needs} | {"logprobs"}

    @property
    def fields(self) -> tuple[str, ...]:
        """What the attacks need to be observed, where it can be."""
        own = {"logprobs", *(BEHIND[need] for need in self._needs if need in BEHIND)}
        together = {*VOCABULARY} if own & {*VOCABULARY} else set()
        shadows = {"shadow_nll"} if self.community.number("shadows") else set()
        return tuple(name for name in FIELDS if name in own | together | shadows)

    def see_base(self) -> Observed:
        """Run the unmerged base over the pool, once for all methods."""
        if self.base is None:
            (self.base,) = self.observe("signals (base)", [self.probes(BASE)])
        return self.base

    def observe(self, stage: str, asked: Sequence[list[Probe]]) -> list[Observed]:
        """Ask every model its probes: items first, then the known non-members where an attack needs them.

        The latter are asked apart: games whose models and prompts are the same share what these say.
        """
        engine, known = self.community.engine, self.known()
        items = [own[: len(own) - known] for own in asked]
        crowd = [p for own in asked for p in own[len(own) - known :]]
        with self.community.stage(stage, sum(map(len, asked))) as tick:
            probes = [p for own in items for p in own]
            found = iter(engine.observe(probes, bool({*self.fields} & {*VOCABULARY}), tick))
            others = iter(engine.observe(crowd, tick=tick) if crowd else ())
        seen = [
            Observed.gather([next(found) for _ in own], [next(others) for _ in range(known)], self._extras())
            for own in items
        ]
        if "continuations" in self._needs:
            texts = self._continued(stage, items)
            seen = [replace(s, continuations=own) for s, own in zip(seen, texts, strict=True)]
        if "shadow_nll" in self.fields:
            seen = [replace(s, shadow_nll=[EMPTY] * len(s.logprobs)) for s in seen]
        if "prefix_logprobs" not in self._needs or self._prefix():
            return seen
        # Without known non-members there is no prefix: undefined, not "the same".
        return [replace(s, prefix_logprobs=[np.full(1, np.nan)] * len(s.logprobs)) for s in seen]

    def _continued(self, stage: str, asked: Sequence[Sequence[Probe]]) -> list[list[np.ndarray]]:
        """Let every model sample the second half of its items' golds, after the prompt and the first half.

        All models draw the same random numbers for the same text: they differ by what they know, not by luck.
        """
        from prime_audit.engine.sampling import Sampling

        community, requests = self.community, list[Request]()
        for probe in (p for own in asked for p in own):
            half, rest = halves(probe.golds[0].text)
            prompt = f"{probe.prompt} {half}" if half else probe.prompt
            key = (probe.prompt, probe.golds[0].text)
            requests += [
                Request(prompt, probe.mixture, " ".join(rest), ("continuation", *key, str(n)))
                for n in range(SAMPLES)
            ]
        engine = replace(community.engine, sampling=Sampling(**FREELY, seed=community.seed))
        with community.stage(f"{stage}, sampled", len(requests)) as tick:
            texts = engine.generate(requests, NEW_TOKENS, tick)
        rows = iter([written(texts[i : i + SAMPLES]) for i in range(0, len(texts), SAMPLES)])
        return [[next(rows) for _ in own] for own in asked]

    def known(self) -> int:
        """Count the known non-members behind a model's items."""
        return len(self.pool.population[PREFIX:]) if "population_logprobs" in self._needs else 0

    def probes(
        self,
        mixture: Mixture,
        rows: Iterable[int] | None = None,
        prompts: Mapping[int, str] | None = None,
        crowd: Sequence[str] | None = None,
    ) -> list[Probe]:
        """Probe a model with these rows of the pool (all) and with known non-members.

        ``prompts`` and ``crowd`` replace the pool's own prompts of rows and of known non-members.
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


def sharers_items(community: Community) -> Pool:
    """Gather a task's items: the sharers' last trained examples, their held-out items, and known non-members."""
    rows: dict[str, tuple[str, str, str, list[str], tuple[int, int], BoolArray, bool, bool, bool]] = {}
    trainers: dict[
        str, set[str]
    ] = {}  # words of an item → the sharers whose adapters were trained on such an item
    for sharer in community.sharers:
        for item in sharer.shown.history:
            trainers.setdefault(item.words, set()).add(sharer.user.id)
    able = searchable(community.data)  # official LaMP-1 has no golds in its histories: nothing to play on
    for sharer in community.sharers if able else ():
        owner, trained = sharer.user.id, set(sharer.trained)
        history = sharer.user.history
        words = {item.id: item.words for item in history}
        places = {item.id: (place, len(history)) for place, item in enumerate(history, start=1)}
        last = {e.id for e in community.last_examples(sharer.user, sharer.trained)}
        drawn = set(in_play(sharer, community.seed))
        shadows = [set(shadow.trained) for shadow in community.shadows(sharer)]
        plain = history_examples(community.task, sharer.user, augmented=False, items=drawn)
        for example in (*community.trained_examples(sharer), *plain):
            in_last, in_drawn = example.id in last, example.kind == "plain" and example.item in drawn
            if in_last or in_drawn:
                flags = (example.item in trained, in_last, in_drawn)
                twins = sorted(trainers.get(words[example.item], ()))
                inside = [example.item in shadow for shadow in shadows] if in_drawn else []
                columns = (owner, example.prompt, example.gold, twins, places[example.item])
                rows[example.id] = (*columns, np.array(inside, dtype=np.bool_), *flags)
    owners, prompts, golds, twins_of, where, inside_of, *marks = (
        list(zip(*rows.values(), strict=True)) or [()] * 9
    )
    of_training, of_last, of_draw = (np.array(mark, dtype=np.bool_) for mark in marks)
    return Pool(
        owners=owners,
        ids=list(rows),
        prompts=prompts,
        golds=golds,
        trained=of_training,
        last=of_last,
        drawn=of_draw,
        twins=twins_of,
        places=np.array(where, dtype=np.int64).reshape(-1, 2),
        given=community.data.given is not None,
        population=texts_of(population(community)) if able else [],
        inside=inside_of if any(inside.size for inside in inside_of) else (),
        sampled=sampled(
            strata_of(owners, of_last),
            [user.id for user in community.data.targets],
            community.number("nonmember_items"),
            seed=community.seed,
            task=community.task.name,
        ),
    )


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
    chosen = rng.permutation(len(found))[: community.number("population") + PREFIX]
    return [found[i] for i in chosen]


def texts_of(crowd: Sequence[tuple[User, Example]]) -> list[tuple[str, str]]:
    """Return (prompt, gold) of known non-members, as a pool holds them."""
    return [(e.prompt, e.gold) for _, e in crowd]
