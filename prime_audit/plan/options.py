"""The options of a run, one row each.

Everything that names an option reads this table: the command line (``commands/options.py``), the keywords of
:func:`prime_audit.compare`, config files (``plan/config.py``), a record's ``spec``, and the command that repeats a run.
To add an option, add a row and use its value: one that decides numbers is a field of ``Plan`` with the row's ``word``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from inspect import Parameter, getdoc, signature
from typing import Any, TypeVar

from prime_audit.errors import UserError
from prime_audit.lamp.tasks import ROUGE, TEXT_METRICS
from prime_audit.plan.kinds import (
    TEXT,
    Assignments,
    Column,
    Columns,
    Files,
    Flag,
    Folder,
    Names,
    Shorthand,
    Terms,
    Texts,
    Value,
    Whole,
)

F = TypeVar("F", bound=Callable[..., Any])
RUN = ("compare", "plan")
STUDY = (*RUN, "study")


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option."""

    name: str
    """On the command line, without dashes, and in config files."""
    help: str
    """One line, without the default."""
    word: str = ""
    """The keyword of ``compare()``; by default the name with underscores."""
    kind: Value = TEXT
    default: Any = None
    default_text: str = ""
    """What the default means, where ``default`` does not show it."""
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    """All allowed values, where there are few."""
    completes: str = ""
    """What a shell completes: the name of a completer in ``commands/completing.py``."""
    decides: bool = False
    """Whether it decides what is run: part of a record's ``spec`` and of ``config.toml``."""
    python: bool = True
    """Whether ``compare()`` takes it; False: only the command line and config files."""
    unless: str = ""
    """The option that, on the command line, overrides this one in a config file."""
    commands: tuple[str, ...] = RUN
    """The commands that run something and take it."""

    def __post_init__(self) -> None:
        if not self.word:
            object.__setattr__(self, "word", self.name.replace("-", "_"))

    def entry(self) -> str:
        """Describe the keyword as a parameter of a docstring."""
        one_of = f" One of {', '.join(self.choices)}." if self.choices else ""
        default = self.default_text or repr(self.default)
        return f"{self.word} : {self.kind.annotation}, default {default}\n    {self.help}{one_of}"


# A row has two or three lines.
# fmt: off
OPTIONS: list[Option] = [
    Option(name="methods", kind=Names(), default="prime,perpcs", metavar="M,…", completes="methods",
           decides=True, help="Methods, for example np,rag,prime:alpha=0.6+rag (see list methods)."),
    Option(name="tasks", kind=Names(), default_text="LaMP-2,LaMP-4 of the world, or the task of --data",
           metavar="T,…", completes="tasks", decides=True,
           help="Tasks, for example LaMP-2,LaMP-4 (see list tasks)."),
    Option(name="tasks", kind=Names(), default_text="the study's tasks on the world, or the task of --data",
           metavar="T,…", completes="tasks", commands=("study",),
           help="Tasks, for example LaMP-2,LaMP-4 (see list tasks)."),
    Option(name="metric", default=ROUGE, choices=tuple(TEXT_METRICS), decides=True, commands=STUDY,
           help="What scores texts: official ROUGE (reads a to z and digits only), or chrF, which reads every script."),
    Option(name="attacks", kind=Names(), default="loss", metavar="A,…", completes="attacks", decides=True,
           commands=STUDY, help="Membership-inference attacks (see list attacks)."),
    Option(name="games", kind=Names(), default="paper,heldout", metavar="G,…", completes="games",
           decides=True, help="Membership games (see list games)."),
    Option(name="canaries", kind=Shorthand(), metavar="N", default_text="none", decides=True,
           help="Plant N synthetic items a sharer, a multiple of 6, half of them trained on; play the games for them."),
    Option(name="sharer-dp", kind=Terms(), metavar="epsilon=E[,delta=D][,clip=C]", decides=True,
           commands=STUDY, help="Train sharers' adapters with DP-SGD."),
    Option(name="against", kind=Names(), default="np", metavar="M,…", completes="methods", decides=True,
           help="Methods that all others are compared with, question by question."),
    Option(name="data", default="world", metavar="PATH", decides=True, commands=STUDY,
           help="A folder or file of users, or 'world': the built-in simulated users (world:users=96,queries=24)."),
    Option(name="columns", kind=Columns(), metavar="ROLE=COLUMN,…", decides=True, commands=STUDY,
           help="Columns of plain items with other names: user=author_id,input=text,output=label; also id, time."),
    Option(name="time-column", kind=Column(), metavar="NAME", default_text="time, if there is one", decides=True,
           commands=STUDY, help="Column of plain items that has their time; rows are sorted by it, oldest first."),
    Option(name="sharers", kind=Folder(), decides=True,
           help="A folder of sharers: LoRA adapters trained elsewhere, with their items. The base is not adapted."),
    Option(name="base-adapter", kind=Folder(), decides=True,
           help="With --sharers: the LoRA that was merged into the base before their adapters were trained."),
    Option(name="model", default_text="the preset's", decides=True,
           help="The base model: 'mini', a Hugging Face folder, a GGUF file or a hub id."),
    Option(name="model", word="models", kind=Texts(), default=(),
           default_text="the study's, or the preset's", commands=("study",),
           help="A base model, as for compare. Repeat it for several models, one table each."),
    Option(name="encoder", default_text="the preset's", decides=True, commands=STUDY,
           help="Model for user embeddings; '' takes the base's own mean-pooled states."),
    Option(name="profiler", default_text="the preset's", decides=True, commands=STUDY,
           help="Instruct model that writes profiles for PAG; '' takes the data's texts or a summary by counting."),
    Option(name="preset", default="auto", completes="preset", decides=True, commands=STUDY,
           help="The set of numbers to start from (see list presets); auto: laptop for mini, small for other models."),
    Option(name="set", word="overrides", kind=Assignments(), default=(), metavar="KEY=VALUE", decides=True,
           completes="setting", commands=STUDY,
           help="Change one setting (see describe settings) or a method's parameter (prime.alpha=0.6). Repeatable."),
    Option(name="device", default="auto", choices=("auto", "cpu", "cuda"), decides=True, commands=STUDY,
           help="Where models run."),
    Option(name="dtype", default="auto", choices=("auto", "float32", "bfloat16", "float16"), decides=True,
           commands=STUDY, help="Number format of the models."),
    Option(name="seed", kind=Whole(), default=0, decides=True, commands=STUDY,
           help="Seed of every random draw."),
    Option(name="plugin", word="plugins", kind=Files(), default=(), decides=True, commands=STUDY,
           help="A Python file with a method, an attack or a game. Repeatable."),
    Option(name="strict", kind=Flag(), default=False, decides=True, commands=STUDY,
           help="Stop at any defect in the data instead of leaving the record out."),
    Option(name="threads", kind=Whole(), default_text="all cores; with --executor ray, a node's cores over its workers",
           metavar="N", commands=STUDY, help="CPU threads of this process, or of each worker."),
    Option(name="out", kind=Folder(), default_text="runs/TIME",
           help="Folder for the results."),
    Option(name="out", kind=Folder(), default_text="studies/NAME-TIME", commands=("study",),
           help="Folder for the results."),
    Option(name="cache", kind=Folder(), default="default", default_text="~/.cache/prime-audit",
           commands=STUDY, help="Folder of the cache: trained adapters, answers, signals."),
    Option(name="no-cache", kind=Flag(), default=False, python=False, unless="cache", commands=STUDY,
           help="Compute everything; read and write no cache."),
    Option(name="executor", default="local", metavar="[local|ray]",
           help="What does the work: this process, or the workers of a Ray cluster."),
    Option(name="address", default_text="RAY_ADDRESS, or Ray on this machine", metavar="HOST:PORT",
           help="The Ray cluster."),
    Option(name="workers", kind=Whole(), default_text="one per GPU", metavar="N",
           help="The most workers of a Ray cluster."),
    Option(name="remeasure", kind=Flag(), default=False, commands=("plan",),
           help="Measure this machine's speeds even where they are known."),
    Option(name="details", kind=Flag(), default=False, python=False,
           help="Print every figure, the control panels and what the figures rest on."),
    Option(name="explain", kind=Flag(), default=False, python=False,
           help="Print what columns and verdicts mean."),
    Option(name="json", word="as_json", kind=Flag(), default=False, python=False, commands=STUDY,
           help="Print JSON instead of tables."),
]
# fmt: on


def options_of(command: str) -> list[Option]:
    """Return the options of ``compare``, ``plan`` or ``study``."""
    return [row for row in OPTIONS if command in row.commands]


def keywords_of(command: str) -> list[Option]:
    """Return the options of a command that its Python function takes too."""
    return [row for row in options_of(command) if row.python]


def deciding() -> list[Option]:
    """Return the options that decide what is run."""
    return [row for row in OPTIONS if row.decides]


def deciding_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given values that decide what is run, in their order."""
    words = {row.word for row in deciding()}
    return {word: value for word, value in given.items() if word in words}


def named(name: str) -> Option:
    """Return the option of ``compare`` with this name on the command line."""
    return next(row for row in options_of("compare") if row.name == name)


def filled(caller: str, given: Mapping[str, Any], rows: Sequence[Option]) -> dict[str, Any]:
    """Return the values of all ``rows`` by keyword: the given ones, else their defaults.

    Raises UserError for a keyword that no row has, and a value of another type or that is none of a row's choices.
    """
    _require_known(caller, given, rows)
    values = {row.word: given.get(row.word, row.default) for row in rows}
    for row in rows:
        if values[row.word] is not row.default:
            require_type(caller, row.word, row.kind, values[row.word])
        if row.choices and values[row.word] not in row.choices:
            raise UserError(f"--{row.name} {values[row.word]}: give one of {', '.join(row.choices)}")
    return values


def require_type(caller: str, word: str, kind: Value, value: Any) -> None:
    """Raise UserError for a value that an argument of this kind cannot have."""
    if not kind.takes_given(value):
        shown = " ".join(repr(value).split())
        raise UserError(f"{caller}: {word}: pass {kind.annotation}, not {shown[:60]}")


def _require_known(caller: str, given: Iterable[str], rows: Sequence[Option]) -> None:
    """Raise UserError for a keyword that no row has, with the nearest ones."""
    known = {row.word for row in rows}
    # A user may write the name of the command line: set for overrides.
    spelled = {row.name.replace("-", "_"): row.word for row in rows} | {word: word for word in known}
    for word in given:
        if word not in known:
            names = [word] if word in spelled else get_close_matches(word, spelled, cutoff=0.5)
            near = dict.fromkeys(spelled[name] for name in names)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(sorted(known))}"
            raise UserError(f"{caller}: unknown option {word!r}: {hint}")


def option_words(command: str, given: Mapping[str, Any]) -> list[str]:
    """Write given values as words of a command line, in their order; None and empty lists are left out."""
    rows = {row.word: row for row in options_of(command)}
    return [
        word
        for key, value in given.items()
        if value is not None
        for word in rows[key].kind.words(f"--{rows[key].name}", value)
    ]


def spec_of(plan: object) -> dict[str, Any]:
    """Return what a plan's options decide, as plain JSON by keyword."""
    found = {}
    for row in deciding():
        plain = row.kind.plain(getattr(plan, row.word))
        if plain is not None or row.kind.always_in_spec:
            found[row.word] = plain
    return found


def given_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords that make the plan of a record's ``spec`` again; plugin files by name only."""
    return {row.word: row.kind.given(spec[row.word]) for row in deciding() if row.word in spec}


def documented(command: str) -> Callable[[F], F]:
    """Show a command's options as keywords of a function with ``**options``: in its signature and its docstring.

    The docstring lists them in front of its section ``Returns``.
    """

    def mark(function: F) -> F:
        own = signature(function)
        *first, _ = own.parameters.values()
        rows = [row for row in keywords_of(command) if row.word not in own.parameters]
        further = [Parameter(row.word, Parameter.KEYWORD_ONLY, default=row.default) for row in rows]
        function.__signature__ = own.replace(parameters=[*first, *further])  # type: ignore[attr-defined]
        entries = [row.entry() for row in rows]
        head, returns, rest = (getdoc(function) or "").partition("\n\nReturns\n")
        function.__doc__ = "\n".join([head, *entries]) + returns + rest
        return function

    return mark
