"""Run a study: its ``compare`` runs with one cache, then its tables, tests and figure, in a folder."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prime_audit.community.store import content_key
from prime_audit.errors import UserError
from prime_audit.folder import Run, RunFolder, write_atomic
from prime_audit.io.markup import markdown_text, plain
from prime_audit.lamp.source import is_world
from prime_audit.plan.kinds import TEXT
from prime_audit.plan.options import filled, keywords_of, named, option_words, require_type
from prime_audit.plan.plan import Plan, default_tasks, make_plan
from prime_audit.report import table as forms
from prime_audit.runs.compare import CACHE, compare
from prime_audit.studies.catalog import find_study
from prime_audit.studies.paired import Test
from prime_audit.studies.spec import Found, Report, Study
from prime_audit.studies.usual import report as usual_report

DATA, PRESET = named("data").default, named("preset").default
SCHEMA = "prime-audit/study/1"


@dataclass(frozen=True)
class Finished:
    """A finished study."""

    path: Path
    """Its folder."""
    study: Study
    """The study."""
    report: Report
    """The results."""
    content: Mapping[str, Any]
    """Its ``study.json``."""


def study(
    name: str,
    *,
    models: Sequence[str] = (),
    tasks: str | Sequence[str] | None = None,
    data: str = DATA,
    preset: str = PRESET,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    cache: str | Path | None = CACHE,
    threads: int | None = None,
    quiet: bool = False,
    **options: Any,
) -> Finished:
    """Run a study and write its folder.

    Parameters
    ----------
    name : str
        A study's name (``prime-audit list studies``).
    models : sequence of str
        Base models, one table each; by default the study's for this preset, else the preset's.
    tasks : str or sequence of str, optional
        By default the study's own tasks on the built-in world, else the task of the data.
    data : str, default "world"
        As of :func:`compare`.
    preset : str, default "auto"
        As of :func:`compare`.
    overrides : sequence of str
        As of :func:`compare`: ``["clusters=10"]``.
    out : str or Path, optional
        The study's folder; by default ``studies/NAME-TIME``.
    cache : str, Path or None, default "default"
        As of :func:`compare`; with None the runs share one that is deleted at the end.
    threads : int, optional
        As of :func:`compare`.
    quiet : bool, default False
        Whether to print no progress.
    **options
        The other options of ``prime-audit study``, by keyword. Methods and games are the study's.

    Returns
    -------
    Finished
        The study's ``path``, its ``report``, and ``content``: its ``study.json``.

    Raises
    ------
    UserError
        For every error in the user's input, in one line, before anything is run where possible.
    """
    own: dict[str, Any] = {"models": models, "tasks": tasks, "data": data, "preset": preset}
    own |= {"overrides": overrides, "out": out, "cache": cache, "threads": threads}
    filled("study()", {**own, **options}, keywords_of("study"))
    require_type("study()", "name", TEXT, name)
    study = find_study(name)
    chosen = tasks if tasks is not None else study.tasks if is_world(data) else default_tasks(data)
    words = {"tasks": chosen, "data": data, "preset": preset, **options}
    shared = {"methods": [v.method for v in study.variants], "games": list(study.games), **words}
    plans = {
        (plan.model, run): plan
        for model in models or study.models.get(preset) or (None,)
        for run, own in study.runs.items()
        for plan in [_plan(study, {**shared, "model": model, "overrides": [*overrides, *own]})]
    }
    _require_one_preset(name, plans.values())
    # The command that repeats the study, without its output folder.
    chosen_models = [word for model in models for word in ("--model", model)]
    typed = option_words("study", {**words, "tasks": tasks, "overrides": overrides})
    command = shlex.join(["prime-audit", "study", name, *chosen_models, *typed])
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    place = Path(out) if out else Path("studies") / f"{name}-{now}"
    key = content_key({"study": name, "plans": [plan.spec() for plan in plans.values()]})
    one_cache: AbstractContextManager[str | Path] = (
        TemporaryDirectory(prefix="prime-audit-") if cache is None else nullcontext(cache)
    )
    with RunFolder.claimed(place, key) as folder, one_cache as kept:
        given = {"cache": kept, "threads": threads, "quiet": quiet}
        found = Found(study, plans, _runs(study, plans, shared, overrides, folder.path, given))
        return _written(found, command, folder)


def _plan(study: Study, spec: Mapping[str, Any]) -> Plan:
    """Plan one run, so that an error in a later one is reported before the first starts."""
    plan = make_plan(**spec)
    labels = {m.label for m in plan.methods}
    for variant in study.variants:
        if variant.method not in labels:
            raise UserError(
                f"study {study.name}: {variant.method} is the same as another of its methods "
                "under these settings; remove the --set that causes it"
            )
    return plan


def _require_one_preset(name: str, plans: Iterable[Plan]) -> None:
    """Refuse models for which ``auto`` means different presets: their tables would differ in more than the model."""
    chosen = {plan.preset: plan.model for plan in plans}
    if len(chosen) > 1:
        found = ", ".join(f"{preset} for {model}" for preset, model in chosen.items())
        raise UserError(f"study {name}: --preset auto means {found}; name one preset for all models")


def _runs(
    study: Study,
    plans: Mapping[tuple[str, str], Plan],
    shared: Mapping[str, Any],
    overrides: Sequence[str],
    folder: Path,
    given: Mapping[str, Any],
) -> dict[tuple[str, str], Run]:
    done: dict[tuple[str, str], Run] = {}
    for (model, name), place in _folders(plans).items():
        if len(plans) > 1 and not given["quiet"]:
            print(f"run {len(done) + 1} of {len(plans)}: {name}, model {model}", file=sys.stderr, flush=True)
        spec = {**shared, "model": model, "overrides": [*overrides, *study.runs[name]]}
        done[model, name] = run = compare(**spec, out=folder / place, **given)
        for failure in (f for f in run.record.failures if f.sharer is None):  # a table of holes is no study
            raise UserError(f"study {study.name}, run {name}: {failure.error}; fix it and rerun the study")
    return done


def _folders(plans: Mapping[tuple[str, str], Plan]) -> dict[tuple[str, str], str]:
    """Name each run's folder below the study's: a model's name, which may be anything, becomes a number."""
    models = list(dict.fromkeys(model for model, _ in plans))
    numbers = {model: f"model-{n}/" if len(models) > 1 else "" for n, model in enumerate(models, start=1)}
    return {(model, name): f"runs/{numbers[model]}{name}" for model, name in plans}


def _written(found: Found, command: str, folder: RunFolder) -> Finished:
    """Build the report and write the study's own files, ``study.json`` last."""
    report = (found.study.report or usual_report)(found)
    content = _content(found, report, command)
    write_atomic(folder.path / "table.md", [_page(found, report, command)])
    write_atomic(folder.path / "table.csv", [forms.csv(report.tables)])
    write_atomic(folder.path / "table.tex", [_latex(found, report, command)])
    for form, drawn in report.figure.items():
        write_atomic(folder.path / f"figure.{form}", [drawn])
    folder.write_json("study.json", content)
    return Finished(folder.path, found.study, report, content)


def _content(found: Found, report: Report, command: str) -> dict[str, Any]:
    """Build ``study.json``: a function of the specification alone, without any time."""
    study, places = found.study, _folders(found.plans)
    variants = [{**asdict(v), "key": v.key} for v in study.variants]
    content = {
        "schema": SCHEMA,
        "name": study.name,
        "title": study.title,
        "answers": study.answers,
        "command": command,
        "spec": {
            "tasks": found.plan.tasks,
            "models": found.models,
            "data": found.plan.data,
            "preset": found.plan.settings.preset,
            "seed": found.plan.seed,
            "games": study.games,
            "attacks": found.plan.attacks,
            "variants": variants,
            "pairs": study.pairs,
        },
        "runs": [
            {
                "model": model,
                "name": name,
                "folder": places[model, name],
                "settings": study.runs[name],
                "command": run.record.command,
            }
            for (model, name), run in found.runs.items()
        ],
        "tables": [asdict(t) for t in report.tables],
        "tests": [asdict(t) for t in report.tests],
        "about": study.about,
        "notes": report.notes,
        "warnings": _warnings(found),
    }
    plain: dict[str, Any] = json.loads(json.dumps(content, allow_nan=False))  # tuples become lists
    return plain


def _warnings(found: Found) -> list[str]:
    lines = [
        line
        for run in found.runs.values()
        for line in (*(f"failed: {f.line()}" for f in run.record.failures), *run.record.warnings)
    ]
    return list(dict.fromkeys(lines))


def _page(found: Found, report: Report, command: str) -> str:
    study, text = found.study, markdown_text
    lines = [f"# {study.title} ({study.answers})", f"To repeat this study:\n\n```sh\n{command}\n```"]
    for table in report.tables:
        lines += [f"## {text(table.title)}", forms.markdown(table)]
        lines += [_bullets(notes)] if (notes := forms.footnotes(table)) else []
    lines += ["![The study's figure](figure.svg)", *_tested(report.tests)]
    lines += ["## How to read this", _bullets([*study.about, *report.notes])]
    if warnings := _warnings(found):
        lines += ["## Warnings", _bullets(warnings)]
    return "\n\n".join(lines) + "\n"


def _tested(tests: Sequence[Test]) -> list[str]:
    """Tabulate the tests for Markdown, with their description."""
    if not tests:
        return []
    drawn = any(t.exact is False for t in tests)
    how = "9,999 swaps drawn where users are many" if drawn else "every swap enumerated"
    count = sum(t.p is not None for t in tests)
    about = (
        f"p: two-sided, of the difference, by swapping the two methods' answers user by user ({how}); of two AUCs, by "
        "Student's t of the interval's standard error. Where two methods merge different sharers, their AUCs have "
        f"neither. p (Holm): corrected over the study's {count} tests. Intervals: one user left out at a time, "
        "Student's t; of an AUC, one sharer, or over targets where that is wider."
    )
    return ["## Paired tests over users", forms.markdown(tabulated(tests)), about]


def tabulated(tests: Sequence[Test]) -> forms.Table:
    """Arrange tests as a table."""
    many = len({t.model for t in tests}) > 1
    cell = forms.Cell
    rows = [
        (
            cell(text=t.first),
            cell(text=t.second),
            cell(t.difference, t.ci, signed=True, reason=t.reason),
            *(cell(text="–" if p is None else f"{p:.4f}") for p in (t.p, t.p_adjusted)),
            cell(text=str(t.users)),
        )
        for t in tests
    ]
    labels = [
        ((t.model,) if many else ()) + (t.task, t.metric + (f" ({t.game})" if t.game else "")) for t in tests
    ]
    heads = tuple(("", h) for h in ("method", "minus", "difference", "p", "p (Holm)", "users"))
    stub = ("model",) * many + ("task", "metric")
    return forms.Table("", stub, heads, tuple(labels), tuple(rows))


def _latex(found: Found, report: Report, command: str) -> str:
    lines = [f"% {line}" for line in (f"{found.study.title} ({found.study.answers})", command)]
    lines.append("% packages: booktabs; LuaLaTeX or XeLaTeX where texts have letters beyond ASCII")
    for table in report.tables:
        about = [plain(table.title), *forms.footnotes(table)]
        lines += ["", *(f"% {line}" for line in about), forms.latex(table)]
    return "\n".join(lines) + "\n"


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"* {markdown_text(line)}" for line in lines)
