"""``prime-audit data``: check, import or write data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from prime_audit.commands.options import shared, task_option
from prime_audit.commands.printing import PATH, about
from prime_audit.errors import UserError
from prime_audit.io.terminal import print_table, say


@about("Check, import or write data.", "data check my_data --task LaMP-4")
@click.group()
def command() -> None:
    """Check data, import your own items, or write the built-in world."""


@about("Count users, items and sharers; report every defect.", "data check my_data --task LaMP-4")
@command.command()
@click.argument("path", type=PATH)
@task_option
@click.option("--strict", is_flag=True, help="End with exit code 2 if there is any defect.")
@shared("columns", "time-column", "model", "preset", "set", "seed", "json")
def check(
    path: Path, task: str | None, strict: bool, as_json: bool, seed: int, model: str | None, **options: Any
) -> None:
    """Count users, items and lengths, and report every defect with file and record id.

    Then say who would share, why the others would not, and what leaks an audit of this size finds, in a run with this
    --model, --preset, --set and --seed. No model is loaded.
    """
    from prime_audit.engine.size import require_model
    from prime_audit.games.exam.power import outlook
    from prime_audit.lamp.check import describe, no_effect
    from prime_audit.lamp.readers import read, task_of
    from prime_audit.lamp.tasks import find_task
    from prime_audit.plan.presets import resolved
    from prime_audit.plugins.loading import load_run_settings

    if model is not None:
        require_model(model)
    overrides = options.pop("overrides")
    preset, why = resolved(options.pop("preset"), model, overrides)
    settings = load_run_settings(preset, overrides)
    named = (find_task(task) if task else task_of(path)).name
    split = {key: settings.get(key, named) for key in ("targets", "adapt_share")}
    data = read(path, task, seed=seed, **split, **options)
    for line in no_effect(data, settings):
        say(f"note: {line}", err=True)
    report = describe(data)
    audit = [*outlook(data.capped(settings.get("max_items", data.task)), settings, seed=seed)]
    if as_json:
        say(report.to_json(audit=audit))
    else:
        _print_report(report, [*why, *audit])
    if strict and report.defects:
        raise UserError(
            f"{path}: {len(report.defects)} defects, the first: {report.defects[0]}; fix them or leave out --strict"
        )


@about(
    "Turn plain items into a data folder with a split.", "data import items.jsonl --task LaMP-4 --out my_data"
)
@command.command("import")
@click.argument("file", type=PATH)
@click.option("--task", required=True, metavar="T", help="The task of the items, for example LaMP-4.")
@click.option("--out", required=True, type=PATH, help="Folder to write.")
@click.option(
    "--targets",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="The most users that are tested.",
)
@click.option(
    "--adapt-share",
    type=click.FloatRange(0, 0.99),
    default=0.25,
    show_default=True,
    help="Share of the users who adapt the base model.",
)
@shared("columns", "time-column", "seed")
def import_(file: Path, task: str, out: Path, seed: int, **options: Any) -> None:
    """Turn plain items into the Per-Pcs layout; the seed decides the split."""
    from prime_audit.lamp.importer import import_items

    made = import_items(file, task, out, seed, **options)
    skipped = sum(defect.action == "skipped" for defect in made.defects)
    say(
        f"{out}: {made.task}, {len(made.adapt)} adaptation users, {len(made.targets)} targets, "
        f"{len(made.candidates)} candidates; {skipped} defective records left out"
    )
    for line in (*made.notes, *made.defects):
        say(f"  {line}", err=True)


@about("Write the users of the built-in world.", "data world --task LaMP-2 --out world")
@command.command()
@click.option("--task", required=True, metavar="T", help="The task, for example LaMP-2.")
@click.option("--out", required=True, type=PATH, help="Parent of the task's folder.")
@click.option(
    "--layout",
    type=click.Choice(["perpcs", "official"]),
    default="perpcs",
    show_default=True,
    help="The files of Per-Pcs, or of LaMP itself.",
)
@click.option(
    "--croissant",
    "described",
    is_flag=True,
    help="Also write croissant.json: what the files hold, how they were made, limits and uses (MLCommons, with RAI).",
)
@shared("seed")
def world(task: str, out: Path, layout: str, described: bool, seed: int) -> None:
    """Write the users of the built-in world in a layout of real data."""
    from prime_audit.lamp.world.world import write_world

    say(str(write_world(task, out, seed=seed, layout=layout, described=described)))  # type: ignore[arg-type]


def _print_report(report: Any, audit: Sequence[str]) -> None:
    say(f"{report.task} from {report.source} ({report.layout} layout), sha256 {report.sha256[:12]}")
    print_table([list(row) for row in report.rows()], list(report.headers()))
    say("items and words: fewest / median / 90 % / most")
    if report.labels:
        say("labels: " + ", ".join(f"{label} {count}" for label, count in report.labels.items()))
    if report.unseen_golds:
        from prime_audit.lamp.metrics import unseen_line

        line = unseen_line({"golds": report.unseen_golds}, report.golds)
        say(f"{line} to compare, plan, study or score")
    same = report.duplicates
    say(f"duplicates: {same.exact} exact, {same.near} near, {same.across_users} of them from another user")
    asked = next(role.queries for role in report.roles if role.role == "targets")
    say(f"targets' questions that are also in other users' histories: {report.shared_questions} of {asked}")
    for note in report.notes:
        say(f"note: {note}")
    say(f"defects: {len(report.defects)}")
    for problem, count in Counter(defect.problem for defect in report.defects).most_common(10):
        if count > 1:
            say(f"  {count} × {problem}")
    for defect in report.defects:
        say(f"  {defect}")
    for line in audit:  # last: on a terminal, many defects must not push it out of sight
        say(line)
