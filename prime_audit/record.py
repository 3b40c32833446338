"""The record of a run: what was asked, what was found, what it cost. ``board`` needs nothing else.

Two runs of the same specification and seed give the same ``record.json`` but for ``times``: everything that
depends on the clock stands there. ``record.schema.json`` beside this file describes the format.
"""

from __future__ import annotations

import json
import re
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin

from prime_audit.errors import UserError

SCHEMA = "prime-audit/record/1"
FAILED = "failed: "
"""How the reason of a figure begins whose computation failed; ``failures`` has the details. Ask ``failed``."""
_T = TypeVar("_T")
_LARGEST = 10**18
"""Of every count: nothing that is counted or hashed comes near."""


def failed(reason: str | None) -> bool:
    """Whether a figure's reason says that computing it failed, not that it does not apply."""
    return reason is not None and reason.startswith(FAILED)


@dataclass(frozen=True)
class Data:
    """The data of one task."""

    task: str
    """The task's name, for instance LaMP-2."""
    source: str
    """What the user named: a path, or world."""
    layout: str
    """How it was laid out: official, perpcs, oppu, items or world."""
    sha256: str
    """Hash of everything read: roles, ids, texts and golds."""
    split_sha256: str
    """Hash of who plays which role."""
    users: Mapping[str, int]
    """Users per role: adapt, targets, candidates."""
    items: int
    """History items of all users."""
    queries: int
    """Questions of the targets: what the utility is measured on."""
    defects: int = 0
    """Records with a defect."""
    first_defects: tuple[str, ...] = ()
    """The first of them: file, record, problem and what became of it."""


@dataclass(frozen=True)
class Model:
    """The base model."""

    name: str
    """A packaged model, a local folder or a hub id."""
    sha256: str
    """Hash of its weights, before adaptation."""
    parameters: int
    """Number of its weights."""
    dtype: str
    """Number format it ran in, for instance float32."""


@dataclass(frozen=True)
class Intervals:
    """How every interval of the record was made."""

    level: float = 0.95
    """Coverage aimed at."""
    draws: int = 1000
    """Bootstrap resamples: of users for utility, of sharers and targets for leakage; percentile limits."""


@dataclass(frozen=True)
class Result:
    """One figure of one method on one task."""

    task: str
    """The task's name."""
    method: str
    """The method's label, parameters included, for instance prime:alpha=0.6+rag."""
    metric: str
    """A metric of the task (accuracy, f1, MAE, RMSE, rouge-1, rouge-L), auc, or a control of the auc:
    auc_base (the same score from the unmerged base), auc_bag_of_words, auc_length_only, auc_similarity_only."""
    value: float | None
    """The figure; null where it does not apply, and then reason says why."""
    ci: tuple[float, float] | None
    """Its interval (see intervals); null where the data carry none."""
    n: int
    """What it was computed from: questions for utility, scored items for leakage (the inclusion game: sharers)."""
    higher_is_better: bool | None = None
    """Direction of the metric; null for an AUC, which is best at ½."""
    reason: str | None = None
    """Why value or ci is null."""
    targets: int = 0
    """Targets that count in the figure."""
    member_sharers: int | None = None
    """Distinct sharers on the members' side: what the interval of a leakage figure can learn from."""
    game: str | None = None
    """Who is a member, for leakage: the game's name."""
    attack: str | None = None
    """The score used, for leakage: the attack's name."""


@dataclass(frozen=True)
class Comparison:
    """A difference between a method and a baseline, on the same questions or items and the same resamples."""

    task: str
    """The task's name."""
    method: str
    """The method's label."""
    baseline: str
    """What is subtracted: np for utility, base (the unmerged base's score of the same items) for leakage."""
    metric: str
    """Metric of both."""
    difference: float | None
    """Method minus baseline, in the metric's own direction; null where it does not apply."""
    ci: tuple[float, float] | None
    """Its interval; null where the data carry none."""
    n: int
    """Questions or scored items."""
    reason: str | None = None
    """Why difference or ci is null."""
    game: str | None = None
    """The game, for leakage."""
    attack: str | None = None
    """The attack, for leakage."""


@dataclass(frozen=True)
class Leak:
    """One attack on one method in one game: what stands beside its AUC, and the verdict."""

    task: str
    """The task's name."""
    method: str
    """The method's label."""
    game: str
    """Who is a member: the game's name."""
    attack: str
    """The score used: the attack's name."""
    auc: float
    """Mean over targets of the per-target AUC."""
    ci: tuple[float, float] | None
    """Its interval: over sharers and targets; in the target game over targets; of one target, over her items."""
    verdict: str
    """leaks, no leak found, confounded, or too few to say: by the rule of prime_audit/audit/verdict.py."""
    why: str
    """The numbers that decided."""
    p: float | None
    """One-sided permutation p: where membership was drawn, of the AUC minus the unmerged base's, at the unit that was
    drawn; where it was selected, of the AUC, by sharers (where non-members are sampled, over as many of the members'
    items). Null where nothing can be exchanged."""
    p_adjusted: float | None
    """After Holm's correction over the attacks of this method and game."""
    best_control: str | None
    """The control with the highest AUC."""
    over_control: float | None
    """The AUC minus that control's."""
    over_control_ci: tuple[float, float] | None
    """Interval of that difference, on the same draws."""
    tpr: Mapping[str, float | None]
    """Mean TPR by FPR limit; null where a target has too few non-members for so fine a rate."""
    members: int
    """Member items scored, over all targets."""
    others: int
    """Non-member items scored, over all targets."""
    undefined: int
    """Items the attack said nothing of; they count with the median score."""
    undefined_base: int
    """Items the same score from the unmerged base said nothing of."""
    both_sides: int
    """Members whose text is also a non-member's, and non-members whose text was trained on after all (by the target's
    model or a merged sharer's adapter)."""
    epsilon: float | None = None
    """Empirical lower bound on ε (prime_audit/games/bounds.py), 95 % confidence over the attacks of this method and
    game together; null where membership was selected, or there are too few people."""
    epsilon_ceiling: float | None = None
    """The largest bound that as many guesses could have given."""


@dataclass(frozen=True)
class Failure:
    """A part of the run that failed while the rest went on."""

    task: str
    """The task's name."""
    stage: str
    """What failed: share (training one sharer's adapter), personalise, answer, signals, or a game by its name."""
    method: str | None = None
    """The method's label, or its core's: whose cell failed; null where no method is concerned."""
    attack: str | None = None
    """The attack that failed; null where none did."""
    sharer: str | None = None
    """The sharer whose training diverged and who was left out of the community."""
    chunk: int | None = None
    """Number of the chunk of targets, from 0; null where all are concerned."""
    targets: int = 0
    """Targets concerned; 0 for a sharer."""
    error: str = ""
    """What happened, in one line."""
    file: str | None = None
    """Where the traceback stands, in the run's folder; null where there is none."""

    def line(self) -> str:
        """Tell it in one line."""
        who = f"sharer {self.sharer}" if self.sharer else self.method
        what = " · ".join(filter(None, (self.task, who, self.attack, self.stage)))
        chunk = "" if self.chunk is None else f", chunk {self.chunk}"
        cost = f" ({self.targets} targets{chunk})" if self.targets else ""
        return f"{what}{cost}: {self.error}" + (f"; traceback in {self.file}" if self.file else "")


@dataclass(frozen=True)
class Cost:
    """What one stage asked of the models it used: base, encoder, profiler (its seconds stand in times)."""

    task: str
    """The task's name."""
    method: str | None
    """The method's label; null for what all methods share."""
    stage: str
    """For instance embed, profiles, adapt, share, search, answer."""
    requests: int = 0
    """Sequences sent through a model."""
    prompt_tokens: int = 0
    """Tokens read."""
    new_tokens: int = 0
    """Tokens generated."""
    candidates: int = 0
    """Mixtures evaluated by a search."""


@dataclass(frozen=True)
class StageSeconds:
    """Wall-clock time of one stage."""

    task: str | None
    """The task's name; null for what all tasks share."""
    method: str | None
    """The method's label; null for what all methods share."""
    stage: str
    """As in costs."""
    seconds: float
    """Wall-clock seconds."""


@dataclass(frozen=True)
class Times:
    """All that differs between two runs of the same specification."""

    started: str
    """UTC, ISO 8601."""
    finished: str
    """UTC, ISO 8601."""
    stages: tuple[StageSeconds, ...] = ()
    """Seconds of each stage."""
    peak_memory_bytes: int | None = None
    """Highest resident memory of the process."""
    peak_device_bytes: int | None = None
    """Highest memory allocated on the accelerator; null without one."""
    made: int = 0
    """Artefacts (adapters, answers, signals, searches) computed in this run."""
    read: int = 0
    """Artefacts read back from the cache instead."""
    damaged: tuple[str, ...] = ()
    """Entries of the cache found damaged, set aside and made again."""
    halved: Mapping[str, int] = field(default_factory=dict)
    """How often the memory gave out and batches were halved, by what they held: it depends on what else runs."""


@dataclass(frozen=True)
class Record:
    """All that a reader of a run needs."""

    command: str
    """The command line that makes the run again, without its output folder."""
    spec: Mapping[str, Any]
    """Every setting of the run, defaults filled in."""
    methods: Mapping[str, Mapping[str, Any]]
    """Each method's label, and by task all its parameters, defaults filled in."""
    seeds: Mapping[str, int]
    """Each seed by its use."""
    versions: Mapping[str, str]
    """Versions of Python, prime-audit and the libraries that decide numbers."""
    data: tuple[Data, ...]
    """One entry a task."""
    model: Model
    """The base model."""
    hardware: Mapping[str, Any]
    """Device (cpu or cuda), its name, threads that torch computes with, and operating system."""
    results: tuple[Result, ...]
    """Every figure, one entry each; tasks, methods and metrics in the order asked for."""
    times: Times
    """Clock and memory: all that differs between two runs of the same specification."""
    comparisons: tuple[Comparison, ...] = ()
    """Paired differences to the baselines."""
    leaks: tuple[Leak, ...] = ()
    """The panel beside every leakage figure, with its verdict."""
    community: Mapping[str, Any] = field(default_factory=dict)
    """By task: the sharers with index, cluster, items and held-out counts, the place of the PEFT adapter below the
    cache folder (where it was trained), the accounted ε (where one was asked for); similarities to targets; modules,
    the adapted projections of a layer in the order of weights; and by name in the bank the adapters, and the adaptation
    merged into the base, each with its sha256 and its place below the cache or its folder among those given."""
    costs: tuple[Cost, ...] = ()
    """What each stage asked of the model."""
    intervals: Intervals = field(default_factory=Intervals)
    """How every interval was made."""
    warnings: tuple[str, ...] = ()
    """What a reader must know before believing the figures: records and items left out, texts cut, questions that
    stand in other users' histories, what a game holds out, what sharers' ε does not cover, coins that fell alike,
    tasks in which no method does measurably better than is done without a model."""
    code: Mapping[str, Any] = field(default_factory=dict)
    """The prime-audit that ran: version, sha256 of its sources, commit, and dirty (whether files that decide numbers
    differ from that commit); commit and dirty are null outside a checkout."""
    failures: tuple[Failure, ...] = ()
    """What failed while the rest went on; its figures are null, for a reason that begins with failed. A sharer whose
    training diverged is no sharer of the run: nobody of her cluster takes her place, and no figure is hers."""
    plugins: Mapping[str, Any] = field(default_factory=dict)
    """By ``method NAME`` and ``attack NAME``: the plugin's version and origin; of a one-off file, its sha256."""
    schema: str = SCHEMA
    """Name and version of this format."""

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON types, ``schema`` first and ``times`` last."""
        content = asdict(self)
        times = content.pop("times")
        return {"schema": content.pop("schema"), **content, "times": times}


def record_from_json(content: Mapping[str, Any], where: str = "record.json") -> Record:
    """Build a record from its JSON, checking names and types; fields it does not know are passed over.

    Raises
    ------
    UserError
        Where ``content`` is no record of this version; ``where`` names the file in the message.
    """
    family, _, version = SCHEMA.rpartition("/")
    found, _, theirs = str(content.get("schema")).rpartition("/")
    if found != family or not theirs.isdecimal():
        raise UserError(f"{where} is not a prime-audit record: name the --out folder of a run")
    if int(theirs) > int(version):
        raise UserError(f"{where} has format {theirs}, this prime-audit reads {version}: install a newer one")
    record = _build(Record, content, where)
    _require_coherent(record, where)
    return record


def _build(cls: type[_T], content: Any, where: str) -> _T:
    """Build dataclass ``cls`` from its JSON form, or say which entry is at fault."""
    if not isinstance(content, Mapping):
        raise UserError(f"{where}: expected an object; the record is damaged, run again")
    hints = _hints(cls)  # type: ignore[arg-type]  # a class is hashable, whatever its objects are
    values = {
        f.name: _convert(hints[f.name], content[f.name], f"{where}: {f.name}")
        for f in fields(cls)  # type: ignore[arg-type]
        if f.name in content
    }
    try:
        return cls(**values)
    except TypeError:
        lacking = [f.name for f in fields(cls) if f.name not in content]  # type: ignore[arg-type]
        raise UserError(f"{where}: lacks {', '.join(lacking)}; the record is damaged, run again") from None


@cache
def _hints(cls: type[Any]) -> Mapping[str, Any]:
    """Resolve a class's annotations once: a board reads a hundred thousand entries."""
    return typing.get_type_hints(cls)


def _convert(hint: Any, content: Any, where: str) -> Any:
    """Turn JSON ``content`` into what a field's type ``hint`` asks for."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return content
    if origin in (Union, types.UnionType):
        if content is None and type(None) in arguments:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), content, where)
    if is_dataclass(hint):
        return _build(typing.cast("type[Any]", hint), content, where)
    if origin is tuple and isinstance(content, list):
        inner = arguments[:1] * len(content) if arguments[-1] is Ellipsis else arguments
        if len(inner) == len(content):
            return tuple(
                _convert(a, c, f"{where}[{i}]") for i, (a, c) in enumerate(zip(inner, content, strict=True))
            )
    elif origin is not None and origin is not tuple and isinstance(content, Mapping):
        return {key: _convert(arguments[1], value, f"{where}.{key}") for key, value in content.items()}
    elif hint is float and isinstance(content, int | float) and not isinstance(content, bool):
        if abs(content) <= sys.float_info.max:
            return float(content)
    elif hint is int and isinstance(content, int) and abs(content) > _LARGEST:
        pass
    elif isinstance(hint, type) and isinstance(content, hint) and isinstance(content, bool) == (hint is bool):
        return content
    raise UserError(f"{where}: unexpected {_start(content)}; the record is damaged, run again")


def _start(content: Any) -> str:
    """Show how a value begins, however deep it is."""
    try:
        return json.dumps(content)[:40]
    except RecursionError:
        return f"a deep {type(content).__name__}"


_RATE = re.compile(r"[01](\.[0-9]{1,9})?")
"""A false-positive rate, as a key of ``tpr``."""


def _require_coherent(record: Record, where: str) -> None:
    """Raise UserError where a record says what no run says; ``where`` names its file."""
    _require_spec(record.spec, where)
    _require_told(record, where)
    _require_figures(record, where)


def _require_spec(spec: Mapping[str, Any], where: str) -> None:
    """Refuse a specification whose entries, where they are there, are of another form than a plan's."""
    for key in ("tasks", "methods", "games", "attacks"):
        names = spec.get(key, [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{where}: spec.{key} is no list of names; the record is damaged, run again")
    settings, overrides = spec.get("settings", {}), spec.get("overrides", {})
    if not isinstance(settings, Mapping) or not all(isinstance(own, Mapping) for own in settings.values()):
        raise UserError(f"{where}: spec.settings is no table by task; the record is damaged, run again")
    if not isinstance(overrides, Mapping):
        raise UserError(f"{where}: spec.overrides is no table; the record is damaged, run again")


def _require_told(record: Record, where: str) -> None:
    """Refuse a code or a plugin that is told of in anything but single words and numbers."""
    tables = {"code": record.code, **{f"plugins.{name}"[:80]: told for name, told in record.plugins.items()}}
    for name, told in tables.items():
        if not isinstance(told, Mapping) or any(isinstance(v, list | dict) for v in told.values()):
            raise UserError(f"{where}: {name} is no table of words; the record is damaged, run again")


def _require_figures(record: Record, where: str) -> None:
    """Refuse a record that tells a figure twice, of a leak without a figure, or of no parameters: no table shows it."""
    for label, by_task in record.methods.items():
        if not all(isinstance(parameters, Mapping) for parameters in by_task.values()):
            raise UserError(f"{where}: methods.{label[:80]}: no parameters; the record is damaged, run again")
    seen: set[tuple[str | None, ...]] = set()
    for r in record.results:
        key = (r.task, r.method, r.metric, r.game, r.attack)
        if key in seen:
            told = " ".join(filter(None, key))[:80]
            raise UserError(f"{where}: tells a figure twice ({told}); the record is damaged, run again")
        seen.add(key)
    shown = {key[:2] for key in seen}
    for leak in record.leaks:
        if not all(_RATE.fullmatch(limit) for limit in leak.tpr):
            raise UserError(f"{where}: a TPR at no FPR; the record is damaged, run again")
        if (leak.task, leak.method) not in shown:
            told = f"{leak.method} on {leak.task}"[:80]
            raise UserError(f"{where}: leaks of {told} without its results; the record is damaged, run again")
