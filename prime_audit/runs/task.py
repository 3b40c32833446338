"""One task of a run: its community, its cells, its exam, and what is scored and played on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from prime_audit.community.build import Community
from prime_audit.community.cautions import cautions
from prime_audit.community.profile_texts import plain_profile, shown_profile, written_profiles
from prime_audit.community.store import Store
from prime_audit.engine.bank import AdapterBank
from prime_audit.engine.base import Base
from prime_audit.engine.engine import Engine
from prime_audit.engine.mixture import Request
from prime_audit.engine.sampling import Sampling
from prime_audit.errors import PartError
from prime_audit.faults import Failed, LostError, first, one_line
from prime_audit.games.exam import examine
from prime_audit.games.exam.examine import Chunk, Examiner, Made
from prime_audit.games.exam.play import ALL, Effort, rounds
from prime_audit.games.exam.queries import Models, Queries, sharers_items
from prime_audit.games.exam.stored import Exam
from prime_audit.lamp.check import no_effect
from prime_audit.lamp.data import Dataset, User
from prime_audit.lamp.prompts import query_examples
from prime_audit.lamp.tasks import Task
from prime_audit.plan.plan import ADAPTERS, REFERENCE, MethodSpec, Plan
from prime_audit.plugins import Attack, Personal, Scene
from prime_audit.plugins.calling import models_of, naming, require_sound
from prime_audit.plugins.loading import load_attack, load_game
from prime_audit.record import Comparison, Failure
from prime_audit.report.abilities import line_of
from prime_audit.runs import canaries, extraction, unaided, utility
from prime_audit.runs.account import data_cautions, data_of, describe, model_row
from prime_audit.runs.cells import Cell, Lost, chunks, cores_of
from prime_audit.runs.findings import Findings
from prime_audit.runs.ledger import Ledger
from prime_audit.runs.models import Readers
from prime_audit.runs.utility import Answers
from prime_audit.seeds import seed_of

T = TypeVar("T")


@dataclass(kw_only=True)
class TaskRun:
    """One task of a run."""

    plan: Plan
    task: Task
    data: Dataset
    base: Base
    readers: Readers
    store: Store
    ledger: Ledger
    found: Findings
    lost: Mapping[tuple[str, int], Lost] = field(default_factory=dict)
    """(core, chunk) → why this cell is not tried again."""
    cautions: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(core, caution) → targets whose model has it in its notes."""

    def run(self) -> None:
        """Build the community, personalise, examine, attack."""
        self.prepare()
        personal = self._personal()
        self._score({spec.label: self._answer(spec, personal[spec.core.label]) for spec in self.plan.methods})
        exam = self._examiner(self.chunks, self.plan.methods).examine(personal)
        self._play(exam)
        if self.plan.settings.get("extraction", self.task.name):
            self._extract(personal, exam)
        self._note()
        if self.community.canaries:  # last: it puts further adapters into the bank
            cost = partial(canaries.cost, self.community)
            found = self._attempt("cost of the canaries", None, Chunk(None, self.community), cost)
            if isinstance(found, Failed):
                found = canaries.no_cost(self.community, found.reason)
            self.found.canary_costs.append(found)

    def examine(self) -> Exam:
        """Do no more than what attacks are scored from: build, personalise, query every model."""
        self.prepare()
        return self._examiner(self.chunks, self.plan.methods).examine(self._personal())

    def carry_out(self, cell: Cell) -> list[Failure]:
        """Compute one cell, once prepared, and store its results; returns its failures."""
        known, methods = len(self.found.faults.found), self._of(cell.core)
        chunk = self.chunks[cell.chunk]
        made = self._made(cell.core, chunk)
        for spec in methods:
            self._answered(spec, chunk, made)
        self._examiner([chunk], methods).examine({cell.core: [made]})
        return self.found.faults.found[known:]

    def prepare(self) -> None:
        """Adapt the base and build the community, of which every chunk of targets gets a view."""
        self.base.codec.cuts.texts.clear()
        self.base.restore()
        self.engine = self._engine()
        self.attacks: list[Attack] = [load_attack(name, self.plan.plugins) for name in self.plan.attacks]
        self.games = [load_game(name, self.plan.plugins) for name in self.plan.games]
        self.seen = self.data
        for way, games in examine.grouped(self.games).items():
            with naming("game", games[0].name):
                self.seen = way.hold_back(self.seen, self.plan.settings, self.plan.seed)
        self.community = self._community()
        ids = chunks(self.plan, self.data, self.task.name)
        views = [self.community] if len(ids) == 1 else [self.community.of(own) for own in ids]
        self.chunks = [Chunk(n if len(ids) > 1 else None, view) for n, view in enumerate(views)]

    def _engine(self) -> Engine:
        get = partial(self.plan.settings.get, task=self.task.name)
        # ``decode_seed`` numbers repetitions of sampled decoding, with all else the same.
        again, seed = get("decode_seed"), self.plan.seed
        seed = seed_of(seed, "decode", str(again)) if again else seed
        sampling = Sampling(get("temperature"), get("top_p"), seed=seed) if get("sampling") else None
        return Engine(
            base=self.base,
            bank=AdapterBank(self.base),
            batch_tokens=get("batch_tokens"),
            sampling=sampling,
            keeper=self.store,
            read_tokens=get("read_tokens"),
        )

    def _community(self) -> Community:
        stage = partial(self.ledger.stage, self.task.name, None, engine=self.engine)
        community = Community(
            task=self.task,
            data=self.seen,
            engine=self.engine,
            encoder=self.readers.encoder,
            settings=self.plan.settings,
            seed=self.plan.seed,
            store=self.store,
            stage=stage,
            privacy=self.plan.sharer_dp,
        )
        community.embed()
        community.require_able()
        users = [*self.seen.adapt, *self.seen.targets, *(s.shown for s in community.sharers)]
        community.profiles.update(self._profiles(users, community))
        community.adapt()
        community.make_canaries(self.data)
        return community

    def _profiles(self, users: Sequence[User], community: Community) -> dict[str, str]:
        writer = self.readers.profiler
        if writer is None:
            return {u.id: plain_profile(self.task, u) for u in users}
        writer.keeper = self.store
        with community.stage("profiles", len(users)) as tick:
            return written_profiles(
                self.task, users, writer, community.number("profile_items"), self.plan.seed, tick
            )

    # -- models, answers, signals: chunk by chunk --------------------------------------------------------

    def _of(self, core: str) -> list[MethodSpec]:
        return [spec for spec in self.plan.methods if spec.core.label == core]

    def _attempt(self, stage: str, method: str | None, chunk: Chunk, work: Callable[[], T]) -> T | Failed:
        """Do a part's work; if it fails, log the error."""
        many = len(chunk.community.targets)
        where = Failure(task=self.task.name, stage=stage, method=method, chunk=chunk.number, targets=many)
        return self.found.faults.attempt(work, where)

    def _personal(self) -> dict[str, Made]:
        return {
            core: [self._made(core, chunk) for chunk in self.chunks] for core in cores_of(self.plan.methods)
        }

    def _made(self, core: str, chunk: Chunk) -> Models | Failed:
        def make() -> Models:
            if why := self.lost.get((core, chunk.number or 0)):
                raise LostError(why.why, why.trace)
            return self._personalise(chunk.community, core)

        return self._attempt("personalise", core, chunk, make)

    def _personalise(self, community: Community, core: str, game: str | None = None) -> dict[str, Personal]:
        """Make a core's models; ``game`` names the queries (``Queries.name``) that they are remade for."""
        part = self._of(core)[0].core
        stage = partial(self.ledger.stage, self.task.name, core, engine=self.engine)
        scene = Scene(
            task=self.task,
            engine=self.engine,
            community=community,
            settings=self.plan.settings,
            seed=self.plan.seed,
            stage=stage,
        )
        made = models_of(part.plugin, scene, part.values(self.plan.settings, self.task.name))
        require_sound(core, made, community)
        kept = {u.id for u in community.targets}
        models = {target: p for target, p in made.items() if target in kept}
        if game is None:
            said = (p.notes.get("caution") for p in models.values())
            self.cautions.update((core, line) for line in said if isinstance(line, str))
        self.found.models += [
            model_row(self.task.name, core, target, p, self.engine.bank, game) for target, p in models.items()
        ]
        return models

    def _answer(self, spec: MethodSpec, made: Made) -> Answers | Failed:
        """Answer the questions of all targets. If one chunk failed, the method has no answers."""
        found = [self._answered(spec, chunk, own) for chunk, own in zip(self.chunks, made, strict=True)]
        failed = first(found)
        return failed or utility.joined([own for own in found if isinstance(own, Answers)])

    def _answered(self, spec: MethodSpec, chunk: Chunk, made: Models | Failed) -> Answers | Failed:
        if isinstance(made, Failed):
            return made
        return self._attempt("answer", spec.label, chunk, partial(self._ask, chunk.community, spec, made))

    def _ask(self, community: Community, spec: MethodSpec, personal: Models) -> Answers:
        front = spec.augment(self.plan.settings, self.task.name)

        def profile(user: User) -> str | None:
            shown = partial(shown_profile, self.task, user, community.profiles)
            return shown(front.wording) if front.profile else None

        asked = [
            (user.id, example)
            for user in community.targets
            for example in query_examples(self.task, user, k=front.k, profile=profile(user))
        ]
        requests = [Request(e.prompt, personal[u].mixture, e.gold, (spec.label, u, e.id)) for u, e in asked]
        with self.ledger.stage(self.task.name, spec.label, "answer", len(requests), self.engine) as tick:
            written = self.engine.write(requests, community.number("max_new"), tick)
        return Answers(
            spec.label,
            [u for u, _ in asked],
            [e.id for _, e in asked],
            [e.gold for _, e in asked],
            [w.text for w in written],
            [w.ended for w in written],
        )

    def _examiner(self, some: Sequence[Chunk], methods: Sequence[MethodSpec]) -> Examiner:
        return Examiner(
            community=self.community,
            data=self.data,
            chunks=some,
            methods=methods,
            games=self.games,
            attacks=self.attacks,
            remake=self._personalise,
            attempt=self._attempt,
        )

    # -- results -----------------------------------------------------------------------------------------

    def _score(self, answers: Mapping[str, Answers | Failed]) -> None:
        for label, own in answers.items():
            if isinstance(own, Failed):
                self.found.results += utility.failed(self.task, label, own)
            else:
                self.found.results += utility.results(self.task, own)
                self.found.predictions += utility.rows(self.task, own)
            for other in self.plan.against:
                if label not in (REFERENCE, other):
                    self.found.comparisons += self._compared(label, own, other, answers[other])
        answered = [own for own in answers.values() if isinstance(own, Answers)]
        self.found.unaided += unaided.comparisons(self.task, answered)
        if (ability := unaided.ability(self.task, answered)) is not None:
            self.found.abilities.append(ability)
            self.found.warn("ability", [] if ability.shown else [line_of(ability)])
        self._warn("cut answers", utility.cut_answers(answered, self.community.number("max_new")))
        self._warn("answers", utility.cautions(self.task, answered))

    def _warn(self, kind: str, lines: Iterable[str]) -> None:
        self.found.warn(kind, [f"{self.task.name}: {line}" for line in lines])

    def _compared(
        self, label: str, own: Answers | Failed, other: str, theirs: Answers | Failed
    ) -> list[Comparison]:
        if isinstance(own, Failed):
            return utility.failed_comparisons(self.task, label, other, own)
        if isinstance(theirs, Failed):
            return utility.failed_comparisons(self.task, label, other, theirs)
        return utility.comparisons(self.task, own, theirs)

    def _play(self, exam: Exam, effort: Effort = ALL) -> None:
        self.found.exams.append(exam)
        self._warn("games", examine.cautions(exam, self.games, self.community, self.data))
        stage = partial(self.ledger.stage, self.task.name, total=0)
        every = rounds(exam, self.games, self.attacks, stage, effort, self.store)
        self.found.take_all(self.task.name, every)
        self.found.exposures += canaries.exposures(exam, self.games)

    def _extract(self, personal: Mapping[str, Made], exam: Exam) -> None:
        """Ask every method's models, and the sharers' own adapters, to write the sharers' items out."""
        task, community, whole = self.task.name, self.community, Chunk(None, self.community)
        pool = exam.pools.get(Queries.pool) or sharers_items(community)
        asked: dict[str, tuple[list[str], extraction.Asked | str]] = {}
        merged: dict[str, None] = {}
        for core, made in personal.items():
            labels = [spec.label for spec in self._of(core)]
            failed, why = first(made), extraction.refusal(self.task)
            if why or failed:
                asked[core] = labels, why or (failed.reason if failed else "")
                continue
            models = {t: p for own in made if not isinstance(own, Failed) for t, p in own.items()}
            own = extraction.one_each(models, community)
            asked[core] = labels, own or "it merges no sharer"
            merged.update(dict.fromkeys(own))
        if merged:
            asked[ADAPTERS] = [ADAPTERS], extraction.own_adapters(community, list(merged))
        for core, (labels, what) in asked.items():
            if not isinstance(what, str):
                work = partial(extraction.extract, community, pool, core, what)
                rows = self._attempt("extraction", core, whole, work)
                if not isinstance(rows, Failed):
                    self.found.extracted += rows
                    self.found.extractions += extraction.summaries(task, labels, rows, self.plan.seed)
                    continue
                what = rows.reason
            self.found.extractions += [extraction.none(task, label, what) for label in labels]

    def _note(self) -> None:
        """Log what a reader must know about data and community."""
        name, community = self.task.name, self.community
        self.found.faults.found += [
            Failure(task=name, stage="share", sharer=sharer, error=one_line(PartError(d.line())))
            for sharer, d in community.lost.items()
        ]
        self.found.data.append(data_of(name, self.data))
        self.found.community[name] = describe(community)
        own = [row for row in self.found.models if row["task"] == name and "game" not in row]
        total = len(self.data.targets)
        lines = [f"{core}: {line} ({n} of {total} targets)" for (core, line), n in self.cautions.items()]
        self._warn("community", [*lines, *cautions(community, own)])
        self._warn("no effect", no_effect(self.data, self.plan.settings))
        self._warn("data", data_cautions(self.data, self.base.codec.cut, self.plan.settings))
