"""A study's declaration (methods, comparisons, figures), and its results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from prime_audit.folder import Run
from prime_audit.plan.plan import label_parts

if TYPE_CHECKING:
    from prime_audit.plan.plan import Plan
    from prime_audit.record import Result
    from prime_audit.report.table import Table
    from prime_audit.studies.paired import Test


@dataclass(frozen=True)
class Variant:
    """One row or column of a study's table: a method, from some of the study's runs."""

    name: str
    """As shown: ``+RAG``, ``α = 0.2``."""
    method: str
    """Its label, as in a record."""
    group: str = ""
    """Shared by several: one colour in a figure. Text after a comma (``PriME, layer``): hollow and dashed."""
    x: float | None = None
    """Its position on the axis of a figure of lines."""
    runs: tuple[str, ...] = ("run",)
    """The study's runs it is read from; with several, the mean is shown with its standard error."""

    @property
    def key(self) -> str:
        """Its key in pairs and references: group and name."""
        return f"{self.group} {self.name}".strip()

    @property
    def core(self) -> str:
        """The label of its module, which most games attack."""
        return label_parts(self.method)[0]


@dataclass(frozen=True, kw_only=True)
class Study:
    """One study; ``report`` replaces the usual tables, tests and figure where they do not fit."""

    name: str
    """The name in the command."""
    title: str
    """One line: the question."""
    answers: str
    """The tables and figures of the paper that it answers; ``new`` if there is none."""
    tasks: tuple[str, ...]
    """The paper's tasks, run on the built-in world unless others are passed."""
    variants: tuple[Variant, ...]
    """In the order shown."""
    pairs: tuple[tuple[str, str], ...]
    """Keys of what is tested: first minus second, over the same users."""
    about: tuple[str, ...] = ()
    """How to read it, and its limits."""
    form: Literal["across", "down"] = "down"
    """Variants ``across`` as columns (Table 1), or ``down`` as rows (Table 2)."""
    figure: Literal["dots", "lines", "frontier"] = "dots"
    """What is drawn."""
    axis: str = ""
    """Title of the axis of a figure of lines."""
    reference: tuple[str, ...] = ()
    """Keys whose best value is a dotted line in a figure of lines."""
    games: tuple[str, ...] = ()
    """Membership games played; empty where only utility matters."""
    runs: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"run": ()})
    """Name of each run → its own settings (``KEY=VALUE``); by default a single ``compare``."""
    models: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Preset → its models in this study; by default the preset's one."""
    report: Callable[[Found], Report] | None = None
    """Builds tables, tests and figure; None: ``usual.report``."""

    def variant(self, key: str) -> Variant:
        """Find a variant by its key."""
        return next(v for v in self.variants if v.key == key)


@dataclass(frozen=True)
class Found:
    """All runs of a study, finished."""

    study: Study
    plans: Mapping[tuple[str, str], Plan]
    """(model, run's name) → its plan; tasks, seed and data are the same in all."""
    runs: Mapping[tuple[str, str], Run]
    """(model, run's name) → the run."""

    @property
    def models(self) -> tuple[str, ...]:
        """Models, in the order passed."""
        return tuple(dict.fromkeys(model for model, _ in self.runs))

    @property
    def plan(self) -> Plan:
        """The first run's."""
        return next(iter(self.plans.values()))

    def first(self, model: str) -> Run:
        """Return a model's first run."""
        return next(run for (name, _), run in self.runs.items() if name == model)

    def of(self, model: str, variant: Variant) -> list[Run]:
        """List the runs that a variant is read from."""
        return [self.runs[model, name] for name in variant.runs]

    def results(self, model: str, variant: Variant, task: str, metric: str, game: str = "") -> list[Result]:
        """Return a variant's results, one per run; ``game`` for a leakage metric (the first attack's)."""
        attack = self.plan.attacks[0] if game else None
        wanted = (task, variant.method, metric, game or None, attack)
        return [
            next(r for r in run.record.results if (r.task, r.method, r.metric, r.game, r.attack) == wanted)
            for run in self.of(model, variant)
        ]

    def answers(self, model: str, variant: Variant, task: str) -> list[list[dict[str, Any]]]:
        """Return a variant's rows of ``predictions.jsonl``, one list per run, in the order of the questions."""
        return [self._predictions[model, name][task, variant.method] for name in variant.runs]

    @cached_property
    def _predictions(self) -> dict[tuple[str, str], dict[tuple[str, str], list[dict[str, Any]]]]:
        found: dict[tuple[str, str], dict[tuple[str, str], list[dict[str, Any]]]] = {}
        for key, run in self.runs.items():
            own = found.setdefault(key, {})
            for row in run.predictions():
                own.setdefault((row["task"], row["method"]), []).append(row)
        return found


@dataclass(frozen=True)
class Report:
    """The output of a study."""

    tables: tuple[Table, ...]
    tests: tuple[Test, ...]
    figure: Mapping[str, bytes]
    """``svg`` and ``png``."""
    notes: tuple[str, ...] = ()
    """Notes on the results, in addition to the study's ``about``."""
