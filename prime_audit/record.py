"""The record of a run: its options, results and cost. The ``board`` command needs nothing else.

Two runs with the same options and seed give the same ``record.json``, except for ``times``, which has everything that
depends on the clock. ``record.schema.json`` beside this file describes the format.
"""

from __future__ import annotations

import json
import re
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin

from prime_audit.errors import UserError, unknown

SCHEMA = "prime-audit/record/1"
FAILED = "failed: "
"""Prefix of the reason of a result that failed, in contrast to one that does not apply. Ask ``failed``."""
NAMED = "; ids: "
"""What comes after it in a warning names sharers. Model cards and filed records, which are published, leave it out."""
_T = TypeVar("_T")
_LARGEST = 10**18
"""Upper limit of any integer; no count or hash comes near it."""


def failed(reason: str | None) -> bool:
    """Whether a figure's reason says that computing it failed, not that it does not apply.

    The format has no field for this: the prefix of the reason is the format, and old records have it.
    """
    return reason is not None and reason.startswith(FAILED)


@dataclass(frozen=True, kw_only=True)
class Data:
    """The data of one task."""

    task: str
    """The task's name, for instance LaMP-2."""
    source: str
    """Path that the user passed, or world."""
    layout: str
    """Layout of the files: official, perpcs, oppu, items or world."""
    sha256: str
    """Hash of everything read: roles, ids, texts and golds."""
    split_sha256: str
    """Hash of the users' roles."""
    users: Mapping[str, int]
    """Users per role: adapt, targets, candidates."""
    items: int
    """History items of all users."""
    queries: int
    """Questions of the targets, on which utility is measured."""
    defects: int = 0
    """Records with a defect."""
    first_defects: tuple[str, ...] = ()
    """The first of them: file, record, problem and what happened to it."""


@dataclass(frozen=True)
class Model:
    """The base model."""

    name: str
    """A packaged model, a local folder, a GGUF file or a hub id."""
    sha256: str
    """Hash of its weights, before adaptation."""
    parameters: int
    """Number of its weights."""
    dtype: str
    """Number format it ran in, for instance float32."""
    file_sha256: str | None = None
    """Hash of its file, where the model is one file (GGUF)."""


@dataclass(frozen=True)
class Intervals:
    """How all intervals of the record were computed."""

    level: float = 0.95
    """Nominal coverage."""
    draws: int = 0
    """0: leaving one person out at a time, with Student's t. Older records: number of bootstrap resamples."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One result of one method on one task."""

    task: str
    """The task's name."""
    method: str
    """The method's label with its parameters, for example prime:alpha=0.6+rag."""
    metric: str
    """A metric of the task, auc, or a control: auc_base, auc_bag_of_words, auc_length_only, auc_similarity_only."""
    value: float | None
    """The result; null where it does not apply, with the reason in reason."""
    ci: tuple[float, float] | None
    """Its interval (see intervals); null where the data allow none."""
    n: int
    """Sample size: questions for utility, scored items for leakage, sharers in the inclusion game."""
    higher_is_better: bool | None = None
    """Direction of the metric; null for an AUC, where 0.5 is best."""
    reason: str | None = None
    """Why value or ci is null."""
    targets: int = 0
    """Targets that count in the result."""
    member_sharers: int | None = None
    """Distinct sharers among the members, which a leakage interval leaves out in turn."""
    game: str | None = None
    """For leakage: the game's name, which decides who is a member."""
    attack: str | None = None
    """For leakage: the attack's name."""
    se: float | None = None
    """Standard error; null where there is no interval, and in older records."""
    freedom: int = 0
    """Degrees of freedom of the interval's Student t; 0 where se is null."""
    without: tuple[float, ...] = ()
    """For utility: the value without each target, in the order of their ids; differences of methods rest on it."""
    cut: int | None = None
    """For utility: answers of these n that did not end by themselves and were cut at max_new tokens; null: unknown."""


@dataclass(frozen=True, kw_only=True)
class Ability:
    """Whether a run shows that its model can do a task: whether any method beats what needs no model.

    Where it does not, utility and leakage, and so the verdicts of this task, may not hold for a model that can.
    """

    task: str
    """The task's name."""
    shown: bool
    """Whether any method is measurably better than without a model."""
    metric: str
    """What was compared."""
    method: str
    """The best method."""
    value: float
    """Its metric."""
    without: float
    """The metric without a model."""
    how: str
    """How the questions were answered without a model."""
    questions: int
    """Questions that were answered."""
    targets: int
    """Targets who asked them."""
    floor: float | None = None
    """The least value that counts as an ability; null where there is none."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A paired difference between a method and a baseline, on the same questions or items."""

    task: str
    """The task's name."""
    method: str
    """The method's label."""
    baseline: str
    """What is subtracted: np for utility; for leakage base, the unmerged base's score of the same items, or adapter,
    the AUC of that game."""
    metric: str
    """Metric of both."""
    difference: float | None
    """Method minus baseline, in the metric's own direction; null where it does not apply."""
    ci: tuple[float, float] | None
    """Its interval; null where the data allow none."""
    n: int
    """Questions or scored items."""
    reason: str | None = None
    """Why difference or ci is null."""
    game: str | None = None
    """The game, for leakage."""
    attack: str | None = None
    """The attack, for leakage."""
    se: float | None = None
    """Standard error; null where there is no interval, and in older records."""
    freedom: int = 0
    """Degrees of freedom of the interval's Student t; 0 where se is null."""


@dataclass(frozen=True, kw_only=True)
class Leak:
    """One attack on one method in one game: its AUC, the evidence and the verdict."""

    task: str
    """The task's name."""
    method: str
    """The method's label."""
    game: str
    """The game's name, which decides who is a member."""
    attack: str
    """The attack's name."""
    auc: float
    """Mean over targets of the per-target AUC."""
    ci: tuple[float, float] | None
    """Its interval: over sharers and targets, over targets in the target game, over items where there is one target."""
    verdict: str
    """leaks; leaks, already in the base; no leak found; confounded; or too few to say: by the rule of
    prime_audit/audit/verdict.py."""
    why: str
    """The numbers behind the verdict."""
    p: float | None
    """One-sided permutation p: if randomised, of the AUC minus the base's; else of the AUC. Null without a test."""
    p_adjusted: float | None
    """The smaller of p and p_tail, corrected by max-T over all attacks and methods of this task and game. In records of
    rules 1: p after Holm's correction over the attacks of this method and game."""
    best_control: str | None
    """The control with the highest AUC."""
    over_control: float | None
    """The AUC minus that control's."""
    over_control_ci: tuple[float, float] | None
    """Interval of that difference, of the same items."""
    tpr: Mapping[str, float | None]
    """Mean TPR by FPR limit; null where a target has too few non-members for that rate."""
    members: int
    """Member items scored, over all targets."""
    others: int
    """Non-member items scored, over all targets."""
    undefined: int
    """Items for which the attack gave no score; they count with the median score."""
    undefined_base: int
    """Items for which the same attack gave no score on the unmerged base."""
    both_sides: int
    """Members whose text is also a non-member's, and non-members whose text was trained on."""
    epsilon: float | None = None
    """Lower bound on ε, 95 % confidence over all attacks of this method and game; null if it does not apply."""
    epsilon_ceiling: float | None = None
    """The largest bound that this number of guesses could have given."""
    q: float | None = None
    """The smallest level at which gain or tail is called, over all tasks of the run: the p of *leaks*."""
    p_auc: float | None = None
    """One-sided permutation p of the AUC, uncorrected."""
    p_base: float | None = None
    """The same of the unmerged base's AUC."""
    p_tail: float | None = None
    """The same of the tail."""
    tail: float | None = None
    """Share of members among the 2 to 5 % of items with the highest gains over the base."""
    excluded: float | None = None
    """The largest share of fully memorised members that the tail does not exclude; null: it excludes none."""
    detectable: float | None = None
    """The smallest leak that 80 % of such audits of this task alone would have found, as an AUC: 0.5 plus the gain over
    the base; null: none, however large."""
    relabellings: int | None = None
    """Relabellings of the permutation tests."""
    duplicate: str | None = None
    """The attack before it with the same scores in this game, up to shift and scale: corrections do not count it."""
    p_already: float | None = None
    """Of the AUC and the base's AUC together, corrected as p_adjusted; null without a base, or of selected members."""
    q_already: float | None = None
    """The smallest level at which the two together are called, over tasks: the p of *leaks, already in the base*."""
    p_people: float | None = None
    """Of the gain over people, corrected over all attacks and methods, where people are drawn anew for each target
    (inclusion): p_adjusted is at least this. Null in other games and in records before edition 3."""
    p_reversed: float | None = None
    """One-sided permutation p of an AUC as low, corrected over all attacks and methods of this task and game."""


@dataclass(frozen=True, kw_only=True)
class Vulnerable:
    """One of the most vulnerable records of a task, method and game, by shadow adapters with and without it."""

    task: str
    """The task's name."""
    method: str
    """The label of the method, or of the models that several methods share."""
    game: str
    """The game's name: which models were queried."""
    sharer: str
    """Whose record it is."""
    item: str
    """Id of the example, as in scores.jsonl."""
    trained: bool
    """Whether the sharer's own adapter was trained on it; decides nothing here."""
    models: int
    """Targets' models over which it is averaged."""
    shadows: int
    """Shadow adapters it rests on; half of them were trained on it."""
    d: float
    """Mean of log(p/(1 - p)) with the record minus without it, in deviations within a side; 1 is an AUC of 0.76."""
    limit: float | None
    """What the largest d of all records of this task, method and game exceeds by chance in 5 %; null: unknown."""


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """The exposure of one design's canaries in one method's models."""

    task: str
    """The task's name."""
    method: str
    """The method's label."""
    game: str
    """The game that asked for the canaries."""
    design: str
    """How they were made: unused, unlikely or near."""
    exposure: float
    """In bits, how high trained canaries rank among untrained ones (``audit/exposure.py``); mean over targets."""
    base: float
    """The same by the unmerged base."""
    chance: float
    """The mean of canaries that were not trained on."""
    most: float
    """The highest mean that this many untrained canaries can show."""
    canaries: int
    """Different trained canaries."""
    epsilon: float | None = None
    """Lower bound on ε from this design's pairs, by the same figure; 95 % confidence over the designs together."""
    epsilon_ceiling: float | None = None
    """The largest bound that this number of pairs could have given."""
    p: float | None = None
    """One-sided permutation p of the mean exposure: canaries are relabelled within sharer and design."""


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """How many golds a method's models write out by greedy decoding: trained items beside held-out ones."""

    task: str
    """The task's name."""
    method: str
    """The method's label; ``adapters``: each sharer's own adapter, before any merge."""
    trained: int = 0
    """Trained items that were asked for, each in one model."""
    heldout: int = 0
    """Held-out items of the same sharers."""
    trained_near: int = 0
    """Trained items whose gold came out with a similarity of 0.9 or more (1 - Levenshtein distance / length)."""
    heldout_near: int = 0
    """Held-out items likewise."""
    trained_verbatim: int = 0
    """Trained items whose gold came out word for word; white space does not count."""
    heldout_verbatim: int = 0
    """Held-out items likewise."""
    sharers: int = 0
    """Sharers with items of both kinds."""
    difference: float | None = None
    """Mean over these sharers of the share of trained items near their gold minus that of held-out ones."""
    ci: tuple[float, float] | None = None
    """Its 95 % interval by Student's t over sharers."""
    p: float | None = None
    """One-sided permutation p within sharers."""
    reason: str | None = None
    """Why there is no interval or no figure."""


@dataclass(frozen=True, kw_only=True)
class CanaryCost:
    """What canaries cost: how much worse sharers' adapters predict the sharers' own held-out items."""

    task: str
    """The task's name."""
    canaries: int
    """Canaries of each sharer; half of them were trained on."""
    without: float | None
    """Mean over sharers of the mean NLL of their held-out items under their adapter trained without canaries, nats."""
    difference: float | None
    """The same with canaries, minus that; positive: worse with canaries. Null where nothing is held out."""
    ci: tuple[float, float] | None
    """Its interval over sharers (Student's t); null for fewer than two."""
    sharers: int
    """Sharers with held-out items and both adapters."""
    reason: str | None = None
    """Why difference or ci is null."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A part of the run that failed while the rest continued."""

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
    """Traceback file in the run's folder; null where there is none."""

    def line(self) -> str:
        """Format it in one line."""
        who = f"sharer {self.sharer}" if self.sharer else self.method
        what = " · ".join(filter(None, (self.task, who, self.attack, self.stage)))
        chunk = "" if self.chunk is None else f", chunk {self.chunk}"
        cost = f" ({self.targets} targets{chunk})" if self.targets else ""
        return f"{what}{cost}: {self.error}" + (f"; traceback in {self.file}" if self.file else "")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Compute of one stage on the base, encoder and profiler; its seconds are in times."""

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


@dataclass(frozen=True, kw_only=True)
class Times:
    """Everything that differs between two runs of the same specification."""

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
    """Damaged cache entries that were set aside and recomputed."""
    halved: Mapping[str, int] = field(default_factory=dict)
    """How often batches were halved for lack of memory, by content; depends on what else runs."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Everything that a reader of a run needs."""

    command: str
    """The command line that repeats the run, without its output folder."""
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
    """All results; tasks, methods and metrics in the order of the command."""
    times: Times
    """Clock and memory: everything that differs between two runs of the same specification."""
    comparisons: tuple[Comparison, ...] = ()
    """Paired differences to the baselines."""
    unaided: tuple[Comparison, ...] = ()
    """Each method's utility minus that of the best answers without a model, which ``baseline`` names: a constant label,
    or another target's gold."""
    leaks: tuple[Leak, ...] = ()
    """The privacy panel: one entry for each leakage result, with its verdict."""
    vulnerable: tuple[Vulnerable, ...] = ()
    """Where the run has shadow adapters: the few most vulnerable records; all are in vulnerability.jsonl."""
    exposures: tuple[Exposure, ...] = ()
    """Of canaries, by method and design; empty where none were made."""
    canary_costs: tuple[CanaryCost, ...] = ()
    """What canaries cost, one entry a task; empty where none were made."""
    extractions: tuple[Extraction, ...] = ()
    """By task and method, with the setting extraction: golds that models write out; items in extraction.jsonl."""
    abilities: tuple[Ability, ...] = ()
    """Whether the model is shown to do each task; none where golds cannot show it, and in older records."""
    community: Mapping[str, Any] = field(default_factory=dict)
    """By task: sharers, similarities to targets, adapted modules, and adapters with path and sha256."""
    costs: tuple[Cost, ...] = ()
    """Compute of each stage."""
    intervals: Intervals = field(default_factory=Intervals)
    """How all intervals were computed."""
    warnings: tuple[str, ...] = ()
    """What to know before trusting the results, what matters most first."""
    code: Mapping[str, Any] = field(default_factory=dict)
    """The prime-audit that ran: version, sha256 of its sources, commit and dirty (null outside a checkout)."""
    failures: tuple[Failure, ...] = ()
    """Parts that failed while the rest continued, or sharers whose training diverged; their results are null."""
    plugins: Mapping[str, Any] = field(default_factory=dict)
    """By kind and name, as ``attack loss``: a plugin's version and origin; for a single file its sha256."""
    rules: int = 1
    """Edition of the rule that the verdicts follow."""
    schema: str = SCHEMA
    """Name and version of this format."""

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON types, ``schema`` first and ``times`` last."""
        content = asdict(self)
        times = content.pop("times")
        return {"schema": content.pop("schema"), **content, "times": times}


def record_from_json(content: Mapping[str, Any], where: str = "record.json") -> Record:
    """Build a record from its JSON and check names and types. Unknown fields are ignored.

    UserError where ``content`` is no record of this version; ``where`` names the file in the message.
    """
    family, _, version = SCHEMA.rpartition("/")
    found, _, theirs = str(content.get("schema")).rpartition("/")
    if found != family or not theirs.isdecimal():
        raise UserError(f"{where} is not a prime-audit record: pass the --out folder of a run")
    if int(theirs) > int(version):
        raise UserError(
            f"{where} has format {theirs}, but this prime-audit reads {version}: install a newer version"
        )
    try:
        record = built(Record, content, where)
        _require_spec(record.spec, where)
        _require_flat(record, where)
        _require_results(record, where)
    except ValueError as fault:
        raise UserError(f"{fault}; the record is damaged: rerun the command") from None
    return record


def built(
    cls: type[_T], content: Any, where: str, *, strict: bool = False, given: Mapping[str, Any] | None = None
) -> _T:
    """Build dataclass ``cls``, and those in it, from plain data (JSON or TOML); ``where`` names its place in messages.

    ``strict``: an entry that is no field is an error, else it is ignored. ``given``: values of fields that are not in
    ``content``. Raises ValueError naming an entry that is missing, unknown or of another type.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"{where}: expected an object")
    hints, given = _hints(cls), given or {}  # type: ignore[arg-type]  # a class is hashable, whatever its objects are
    names = [name for name in hints if name not in given]
    if strict and (others := [key for key in content if key not in names]):
        raise ValueError(f"{where}: {unknown('entry', others[0], names)}")
    values = {
        name: _convert(hints[name], content[name], f"{where}: {name}", strict)
        for name in names
        if name in content
    }
    try:
        return cls(**values, **given)
    except TypeError:
        due = {
            f.name
            for f in fields(typing.cast("Any", cls))
            if f.default is MISSING and f.default_factory is MISSING
        }
        lacking = [name for name in names if name in due and name not in content]
        raise ValueError(f"{where}: missing {', '.join(lacking)}") from None


_hints = cache(typing.get_type_hints)
"""Resolve a class's annotations once: a board reads a hundred thousand entries."""


def _convert(hint: Any, content: Any, where: str, strict: bool) -> Any:
    """Convert JSON ``content`` to a field's type ``hint``."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return content
    if origin in (Union, types.UnionType):
        if content is None and type(None) in arguments:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), content, where, strict)
    if is_dataclass(hint):
        return built(typing.cast("type[Any]", hint), content, where, strict=strict)
    if origin is tuple and isinstance(content, list):
        inner = arguments[:1] * len(content) if arguments[-1] is Ellipsis else arguments
        if len(inner) == len(content):
            return tuple(
                _convert(a, c, f"{where}[{i}]", strict)
                for i, (a, c) in enumerate(zip(inner, content, strict=True))
            )
    elif origin is not None and origin is not tuple and isinstance(content, Mapping):
        return {
            key: _convert(arguments[1], value, f"{where}.{key}", strict) for key, value in content.items()
        }
    elif hint is float and isinstance(content, int | float) and not isinstance(content, bool):
        if abs(content) <= sys.float_info.max:
            return float(content)
    elif hint is int and isinstance(content, int) and abs(content) > _LARGEST:
        pass
    elif isinstance(hint, type) and isinstance(content, hint) and isinstance(content, bool) == (hint is bool):
        return content
    raise ValueError(f"{where}: unexpected {_start(content)}")


def _start(content: Any) -> str:
    """Show the start of a value, however deep it is."""
    try:
        return json.dumps(content, default=str)[:40]
    except RecursionError:
        return f"a deeply nested {type(content).__name__}"


_RATE = re.compile(r"[01](\.[0-9]{1,9})?")
"""A false-positive rate, as a key of ``tpr``."""


def _require_spec(spec: Mapping[str, Any], where: str) -> None:
    """Refuse a specification with entries of the wrong form."""
    for key in ("tasks", "methods", "games", "attacks", "against"):
        names = spec.get(key, [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{where}: spec.{key} is not a list of names")
    settings, overrides = spec.get("settings", {}), spec.get("overrides", {})
    if not isinstance(settings, Mapping) or not all(isinstance(own, Mapping) for own in settings.values()):
        raise ValueError(f"{where}: spec.settings is not a table by task")
    if not isinstance(overrides, Mapping):
        raise ValueError(f"{where}: spec.overrides is not a table")


def _require_flat(record: Record, where: str) -> None:
    """Refuse a ``code`` or ``plugins`` entry that is not a flat table of words and numbers."""
    tables = {
        "code": record.code,
        **{f"plugins.{name}"[:80]: origin for name, origin in record.plugins.items()},
    }
    for name, table in tables.items():
        if not isinstance(table, Mapping) or any(isinstance(v, list | dict) for v in table.values()):
            raise ValueError(f"{where}: {name} is not a flat table")


def _require_results(record: Record, where: str) -> None:
    """Refuse duplicate results, leaks without results, and methods without parameters: no table can show them."""
    for label, by_task in record.methods.items():
        if not all(isinstance(parameters, Mapping) for parameters in by_task.values()):
            raise ValueError(f"{where}: methods.{label[:80]}: no parameters")
    seen: set[tuple[str | None, ...]] = set()
    for r in record.results:
        key = (r.task, r.method, r.metric, r.game, r.attack)
        if key in seen:
            raise ValueError(f"{where}: duplicate result ({' '.join(filter(None, key))[:80]})")
        seen.add(key)
    shown = {key[:2] for key in seen}
    for leak in record.leaks:
        if not all(_RATE.fullmatch(limit) for limit in leak.tpr):
            raise ValueError(f"{where}: a key of tpr is not an FPR")
        if (leak.task, leak.method) not in shown:
            pair = f"{leak.method} on {leak.task}"[:80]
            raise ValueError(f"{where}: leaks of {pair} without its results")
