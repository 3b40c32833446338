"""Running a plan: data → community → personalised models → the same exam and the same attacks → the record."""

from __future__ import annotations

import hashlib
import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from prime_audit import utility
from prime_audit.arena import Arena
from prime_audit.audit.stored import Exam, write_exam
from prime_audit.community.build import Community
from prime_audit.community.cautions import cautions, one_sided
from prime_audit.community.held import Held, hold_back
from prime_audit.community.kept import adapters_of
from prime_audit.community.profiles import plain_profile, shown_profile, written_profiles
from prime_audit.community.sharers import bank_name
from prime_audit.community.store import Store, content_key
from prime_audit.config import CONFIG, config_text
from prime_audit.engine.bank import AdapterBank
from prime_audit.engine.base import Base
from prime_audit.engine.engine import Engine, Request
from prime_audit.engine.sampling import Sampling
from prime_audit.errors import UserError
from prime_audit.folder import PREDICTIONS, SCORES, Run, RunFolder, write_atomic
from prime_audit.lamp.check import shared_questions
from prime_audit.lamp.data import Dataset, User
from prime_audit.lamp.prompts import query_examples
from prime_audit.lamp.readers import require_searchable
from prime_audit.lamp.source import open_data
from prime_audit.lamp.tasks import TASKS, Task
from prime_audit.ledger import Ledger
from prime_audit.plan import REFERENCE, MethodSpec, Plan
from prime_audit.play import ALL, Effort, rounds
from prime_audit.plugins import Attack, Personal, Scene, load_attack, models_of
from prime_audit.provenance import code, code_since, plugins_of
from prime_audit.readers import Readers, hardware, loaded
from prime_audit.record import Comparison, Data, Intervals, Leak, Model, Record, Result
from prime_audit.seeds import seed_of
from prime_audit.utility import Answers

LIBRARIES = (
    "prime-audit",
    "torch",
    "transformers",
    "peft",
    "nevergrad",
    "numpy",
    "scikit-learn",
    "rouge-score",
)


@dataclass
class Findings:
    """What a run has found so far, task by task."""

    data: list[Data] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    leaks: list[Leak] = field(default_factory=list)
    community: dict[str, Any] = field(default_factory=dict)
    predictions: list[Mapping[str, object]] = field(default_factory=list)
    scores: list[Mapping[str, object]] = field(default_factory=list)
    models: list[Mapping[str, object]] = field(default_factory=list)
    exams: list[Exam] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def run(plan: Plan, out: Path, command: str, *, cache: Path | None = None, quiet: bool = False) -> Run:
    """Run a plan and write its folder; nothing is written there before everything is found.

    Raises UserError for whatever the user can mend: data, model, a folder that holds another run.
    """
    datasets = open_all(plan)
    # Everything that decides the numbers: the same folder is not taken up for other data under the same path.
    decided = {
        **plan.spec(),
        "data_sha256": {task: data.sha256 for task, data in datasets.items()},
        "plugins_sha256": [hashlib.sha256(path.read_bytes()).hexdigest() for path in plan.plugins],
    }
    with RunFolder.claimed(out, content_key(decided)) as folder:
        return _run(plan, datasets, folder, command, cache, quiet)


def open_all(plan: Plan) -> dict[str, Dataset]:
    """Read the data of every task of a plan; UserError where its methods cannot be run on them."""
    datasets = {
        task: open_data(plan.data, task, plan.seed, plan.settings, **plan.reading()) for task in plan.tasks
    }
    if any(m.core.plugin.name != REFERENCE for m in plan.methods):
        for data in datasets.values():
            require_searchable(data)
    return datasets


def _run(
    plan: Plan,
    datasets: Mapping[str, Dataset],
    folder: RunFolder,
    command: str,
    cache: Path | None,
    quiet: bool,
) -> Run:
    ledger = Ledger(quiet)
    with ledger.showing():
        base = loaded(plan, ledger)
        store = Store(cache, base.spent, base.codec.cuts)
        readers = Readers(plan, base)
        record, found = perform(plan, datasets, base, readers, store, ledger, command)
    write_atomic(folder.path / CONFIG, [config_text(plan)])
    write(folder, record, found)
    return Run(folder.path, record)


def perform(
    plan: Plan,
    datasets: Mapping[str, Dataset],
    base: Base,
    readers: Readers,
    store: Store,
    ledger: Ledger,
    command: str,
    kind: type[TaskRun] | None = None,
) -> tuple[Record, Findings]:
    """Run every task of a plan (by a ``kind`` of task run, where it is rehearsed); return all that was found."""
    found, began = Findings(), code()
    for task, data in datasets.items():
        (kind or TaskRun)(plan, TASKS[task], data, base, readers, store, ledger, found).run()
    halved = {fit.what: fit.halved for fit in base.fits.values() if fit.halved}
    found.warnings += [
        f"the memory gave out {n} times while batches of more than {what} were tried; they were halved"
        for what, n in halved.items()
    ]
    record = Record(
        command=command,
        spec=plan.spec(),
        methods={m.label: {task: m.values(plan.settings, task) for task in plan.tasks} for m in plan.methods},
        seeds={"run": plan.seed},
        versions={"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        data=tuple(found.data),
        model=Model(
            plan.model, base.loaded_sha256, base.parameters(), str(base.dtype).removeprefix("torch.")
        ),
        hardware=hardware(base),
        results=tuple(found.results),
        comparisons=tuple(found.comparisons),
        leaks=tuple(found.leaks),
        community=found.community,
        costs=tuple(ledger.costs),
        intervals=Intervals(),
        warnings=tuple(found.warnings),
        code=code_since(began),
        plugins=_plugins(plan),
        times=ledger.times(),
    )
    return record, found


def _plugins(plan: Plan) -> dict[str, Any]:
    methods = {part.plugin.name: part.plugin for spec in plan.methods for part in spec.parts}
    attacks = [load_attack(name, plan.plugins) for name in plan.attacks]
    return plugins_of(methods.values(), attacks, plan.plugins)


@dataclass
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

    def run(self) -> None:
        """Build the community, personalise, examine, attack."""
        self.base.codec.cuts.texts.clear()
        community = self._prepare()
        personal = {core: self._personalise(community, core) for core in self._cores()}
        answers = {
            spec.label: self._answer(community, spec, personal[spec.core.label]) for spec in self.plan.methods
        }
        self._score(answers)
        self._attack(community, personal)
        self._note(community, self.base.codec.cut)

    def examine(self) -> Exam:
        """Do no more than what attacks are scored from: build, personalise, ask every model."""
        community = self._prepare()
        personal = {core: self._personalise(community, core) for core in self._cores()}
        return self._examine(community, personal)

    def _prepare(self) -> Community:
        self.base.restore()
        self.engine = self._engine()
        self.seen, self.held = self.data, dict[str, Held]()
        if "target" in self.plan.games:
            share = self.plan.settings.get("heldout", self.task.name)
            self.seen, self.held = hold_back(self.data, share, self.plan.seed)
        return self._community()

    def _engine(self) -> Engine:
        get = partial(self.plan.settings.get, task=self.task.name)
        sampling = (
            Sampling(get("temperature"), get("top_p"), seed=_decode_seed(self.plan.seed, get("decode_seed")))
            if get("sampling")
            else None
        )
        bank, tokens = AdapterBank(self.base), get("read_tokens")
        return Engine(self.base, bank, get("batch_tokens"), sampling, self.store, tokens)

    def _community(self) -> Community:
        stage = partial(self.ledger.stage, self.task.name, None, engine=self.engine)
        community = Community(
            self.task,
            self.seen,
            {},
            self.engine,
            self.readers.encoder,
            self.plan.settings,
            self.plan.seed,
            self.store,
            stage,
            self.plan.sharer_dp,
        )
        community.embed()
        users = [*self.seen.adapt, *self.seen.targets, *(s.shown for s in community.sharers)]
        community.profiles.update(self._profiles(users, community))
        community.adapt()
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

    def _cores(self) -> dict[str, MethodSpec]:
        """List the personalised models that are needed, each once: ``prime`` serves ``prime+rag`` too."""
        return {spec.core.label: spec for spec in self.plan.methods}

    def _personalise(self, community: Community, core: str, game: str | None = None) -> dict[str, Personal]:
        """Make a core's models; ``game`` names the one that they are made again for."""
        part = self._cores()[core].core
        stage = partial(self.ledger.stage, self.task.name, core, engine=self.engine)
        scene = Scene(self.task, self.engine, community, self.plan.settings, self.plan.seed, stage)
        made = models_of(part.plugin, scene, part.values(self.plan.settings, self.task.name))
        missing = [u.id for u in community.targets if u.id not in made]
        if missing:
            raise UserError(
                f"{self.task.name}: {core} made no model for user {missing[0]} (of {len(missing)}): no history"
            )
        for target, p in made.items():
            self.found.models.append(
                {
                    "task": self.task.name,
                    "method": core,
                    "target": target,
                    "sharers": list(p.sharers),
                    "rule": p.mixture.rule,
                    "adapters": list(p.mixture.names),
                    "weights": np.asarray(p.mixture.weights).tolist(),
                    "notes": dict(p.notes),
                }
                | ({"made_of": of} if (of := _made_of(self.engine.bank, p)) else {})
                | ({"game": game} if game else {})
            )
        return dict(made)

    def _answer(self, community: Community, spec: MethodSpec, personal: Mapping[str, Personal]) -> Answers:
        front = spec.augment(self.plan.settings, self.task.name)
        asked = [
            (user.id, example)
            for user in community.targets
            for example in query_examples(
                self.task, user, k=front.k, profile=shown_profile(self.task, user, community.profiles, front)
            )
        ]
        requests = [Request(e.prompt, personal[u].mixture, e.gold, (spec.label, u, e.id)) for u, e in asked]
        with self.ledger.stage(self.task.name, spec.label, "answer", len(requests), self.engine) as tick:
            texts = self.engine.generate(requests, community.number("max_new"), tick)
        return Answers(
            spec.label, [u for u, _ in asked], [e.id for _, e in asked], [e.gold for _, e in asked], texts
        )

    def _score(self, answers: Mapping[str, Answers]) -> None:
        seed, draws = seed_of(self.plan.seed, "bootstrap", self.task.name), Intervals().draws
        for label, own in answers.items():
            self.found.results += utility.results(self.task, own, seed, draws)
            self.found.predictions += utility.rows(self.task, own)
            for other in self.plan.against:
                if label not in (REFERENCE, other):
                    self.found.comparisons += utility.comparisons(self.task, own, answers[other], seed, draws)

    def _attacks(self) -> list[Attack]:
        return [load_attack(name, self.plan.plugins) for name in self.plan.attacks]

    def _examine(self, community: Community, personal: Mapping[str, dict[str, Personal]]) -> Exam:
        again = partial(self._personalise, game="inclusion")
        arena = Arena(community, self.plan.methods, self.plan.games, self._attacks(), self.held, again)
        return arena.observe(personal)

    def _attack(self, community: Community, personal: Mapping[str, dict[str, Personal]]) -> None:
        self._play(self._examine(community, personal))

    def _play(self, exam: Exam, effort: Effort = ALL) -> None:
        self.found.exams.append(exam)
        coins = next((p.coins for p in exam.passes if p.coins), {})
        self.found.warnings += [f"{self.task.name}: {line}" for line in one_sided(coins)]
        stage = partial(self.ledger.stage, self.task.name, total=0)
        games, attacks = self.plan.games, self._attacks()
        for played, pool, labels in rounds(exam, games, attacks, stage, effort, self.store):
            self.found.scores += played.rows(self.task.name, pool)
            for label in labels:
                self.found.results += played.results(self.task.name, label)
                self.found.comparisons += played.comparisons(self.task.name, label)
                self.found.leaks += played.leaks(self.task.name, label, pool)

    def _note(self, community: Community, cut: int) -> None:
        data, name = self.data, self.task.name
        roles = {"adapt": data.adapt, "targets": data.targets, "candidates": data.candidates}
        self.found.data.append(
            Data(
                name,
                data.source,
                data.layout,
                data.sha256,
                data.split_sha256,
                {role: len(users) for role, users in roles.items()},
                sum(len(u.history) for users in roles.values() for u in users),
                sum(len(u.queries) for u in data.targets),
                len(data.defects),
                tuple(str(d) for d in data.defects[:20]),
            )
        )
        self.found.community[name] = _describe(community)
        self.found.warnings += [f"{name}: {line}" for line in cautions(community, self.held)]
        if cut:
            self.found.warnings.append(
                f"{name}: {cut} texts were longer than the model's context and lost their front"
            )
        if data.older:
            self.found.warnings.append(
                f"{name}: {data.older} older history items left out (max_items = {community.number('max_items')})"
            )
        if data.defects:
            self.found.warnings.append(
                f"{name}: {len(data.defects)} defective records in the data, the first: {data.defects[0]}; all are "
                f"listed by prime-audit data check {shlex.quote(data.source)} --task {name}"
            )
        if shared := shared_questions(data):
            self.found.warnings.append(
                f"{name}: {shared} of {self.found.data[-1].queries} questions stand in other users' histories too "
                "(their golds may differ): sharers may have trained on them"
            )


def _decode_seed(seed: int, again: int) -> int:
    """Seed of what sampled decoding draws; ``again`` numbers its repetitions, all else the same."""
    return seed_of(seed, "decode", str(again)) if again else seed


def _made_of(bank: AdapterBank, personal: Personal) -> dict[str, list[str]]:
    """Tell what a model's adapters were made of, those that were."""
    return {n: list(bank.made_of[n]) for n in personal.mixture.names if n in bank.made_of}


def _describe(community: Community) -> dict[str, Any]:
    return {
        "sharers": [
            {
                "index": n,
                "user": s.user.id,
                "cluster": s.cluster,
                "items": len(s.user.history),
                "trained": len(s.trained),
                "heldout": len(s.heldout),
            }
            | ({"dp": asdict(g)} if (g := community.guarantee(s)) else {})
            | ({"adapter": place} if (place := community.places.get(bank_name(s.user.id))) else {})
            for n, s in enumerate(community.sharers)
        ],
        "similarity": {
            u.id: [round(float(c), 9) for c in community.similarity(u.id)] for u in community.targets
        }
        if community.sharers
        else {},
    } | adapters_of(community)


def write(folder: RunFolder, record: Record, found: Findings) -> None:
    """Write all of a run into its folder, the record last."""
    from prime_audit.board import render_all

    folder.write_jsonl(PREDICTIONS, found.predictions)
    folder.write_jsonl(SCORES, found.scores)
    folder.write_jsonl("models.jsonl", found.models)
    for exam in found.exams:
        write_exam(folder.path, exam)
    render_all(record, folder.path)
    folder.write_record(record)
