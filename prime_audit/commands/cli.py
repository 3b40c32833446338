"""The command line: thin commands over the Python API, which import what is heavy when they run."""

from __future__ import annotations

import errno
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from prime_audit import __version__
from prime_audit.commands import completing
from prime_audit.commands.adapters import completion, examples, export
from prime_audit.commands.audit import attack, calibrate
from prime_audit.commands.cache import cache
from prime_audit.commands.leaderboard import leaderboard
from prime_audit.commands.options import (
    data_option,
    json_option,
    plugin_option,
    seed_option,
    task_option,
    with_cache,
    with_cluster,
    with_presets,
    with_run,
)
from prime_audit.commands.study import study
from prime_audit.errors import UserError
from prime_audit.io.markup import visible
from prime_audit.io.stopping import Stopped, stopping
from prime_audit.io.terminal import console, draw, error_line, print_table, say

SOME_FAILED = 3
"""Exit code: a part of the run failed, the rest is there (``failures`` of the record)."""
CUT_OFF = "nothing was written to the run's folder; what the cache holds is kept, and the same command goes on from it"
"""What is said of a command that a signal ended."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="prime-audit")
def cli() -> None:
    """Personalised language models: does it help its user, and whom does it leak?"""  # noqa: D400


def main() -> None:
    """Run the command; a UserError or a full disk is one line and exit code 2, a signal one line and its own code."""
    try:
        with stopping():
            cli(standalone_mode=False)
    except UserError as fault:
        click.echo(f"prime-audit: {error_line(str(fault))}", err=True)
        sys.exit(2)
    except click.exceptions.NoArgsIsHelpError as fault:
        fault.show()
        sys.exit(2)
    except click.ClickException as fault:
        click.echo(f"prime-audit: {error_line(fault.format_message())}", err=True)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo(f"prime-audit: interrupted; {CUT_OFF}", err=True)
        sys.exit(130)
    except Stopped as fault:
        click.echo(f"prime-audit: ended by {fault.name}; {CUT_OFF}", err=True)
        sys.exit(fault.code)
    except BrokenPipeError:  # the reader of our output (head, less) has gone
        sys.stderr.close()
        sys.exit(141)
    except (
        OSError
    ) as fault:  # a disk may fill anywhere: below a library's own temporary files, on standard output
        if fault.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        where = f"{fault.filename}: " if fault.filename else ""
        click.echo(
            f"prime-audit: {error_line(f'{where}{fault.strerror}')}; make room there and run again", err=True
        )
        sys.exit(2)


@cli.command()
@with_run
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder.  [default: runs/TIME]")
@with_cache
@with_cluster
@json_option
def compare(out: Path | None, cache: Path | None, no_cache: bool, as_json: bool, **options: Any) -> None:
    """Run methods through one harness: utility, leakage, controls, frontier."""
    from prime_audit.api import compare as run

    finished = run(out=out, cache=None if no_cache else (cache or "default"), **options)
    show_run(finished, as_json)
    exit_if_failed(finished)


@cli.command()
@with_run
@with_cache
@json_option
def plan(cache: Path | None, no_cache: bool, as_json: bool, **options: Any) -> None:
    """Say what compare would do with the same words: its stages, what is kept, time and memory.

    The run is rehearsed: everything is done but what models do, which is counted, at speeds measured on this machine
    once. Nothing is written but those.
    """
    import time

    import psutil

    from prime_audit.api import predict
    from prime_audit.forecast.forecast import dumped, headline, lines

    begun = time.time() - psutil.Process().create_time()  # what any command's start takes, imports included
    tell = partial(say, err=True)
    found = predict(cache=None if no_cache else (cache or "default"), start_up=begun, tell=tell, **options)
    if as_json:
        say(dumped(found))
    else:
        print_table(list(lines(found)), ["task", "method", "stage", "requests", "tokens", "kept", "seconds"])
        say(headline(found))
    for line in found.failures:
        say(f"would fail: {line}", err=True)
    if found.failures:
        sys.exit(SOME_FAILED)


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
@json_option
def show(run: Path, as_json: bool) -> None:
    """Print a finished run again."""
    from prime_audit.folder import load_run

    show_run(load_run(run), as_json)


@cli.command(name="list")
@click.argument("what", type=click.Choice(["methods", "attacks", "games", "tasks", "presets", "studies"]))
@plugin_option
@json_option
def list_(what: str, plugins: tuple[Path, ...], as_json: bool) -> None:
    """List what can be run."""
    rows = _listing(what, plugins)
    if as_json:
        say(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        print_table([list(row.values()) for row in rows], list(rows[0]) if rows else [])


@cli.command()
@click.argument("name", shell_complete=completing.anything)
@plugin_option
@with_presets
def describe(name: str, plugins: tuple[Path, ...], preset: str, overrides: tuple[str, ...]) -> None:
    """Describe a method, an attack, a task, or the settings."""
    from prime_audit.authoring.describe import description

    say(description(name, plugins, preset, overrides))


@cli.command()
@click.argument("name", shell_complete=completing.plugin)
@plugin_option
def doctor(name: str, plugins: tuple[Path, ...]) -> None:
    """Check that an attack or a method, ours or anyone's, keeps its contract."""
    from prime_audit.authoring.doctor import examine

    checks = examine(name, plugins)
    for check in checks:
        say(check.line())
    sys.exit(not all(check.ok for check in checks))


@cli.group()
def new() -> None:
    """Write a plugin to start from."""


@new.command(name="attack")
@click.argument("name")
@click.option("--out", default=".", type=click.Path(path_type=Path), help="Folder to write into.")
def new_attack_(name: str, out: Path) -> None:
    """Write a working attack and its test."""
    from prime_audit.authoring.scaffold import new_attack

    file, test = new_attack(name, out)
    say(f"{file}: change it; run it with --plugin {file}, check it with")
    say(f"  prime-audit doctor {name} --plugin {file}\n  pytest {test}")


@cli.command()
@task_option
@click.option("--golds", required=True, type=click.Path(path_type=Path), help="Official outputs file.")
@click.option(
    "--preds", required=True, type=click.Path(path_type=Path), help="Predictions, in the same format."
)
@json_option
def score(task: str | None, golds: Path, preds: Path, as_json: bool) -> None:
    """Score predictions with the official metrics."""
    from prime_audit.lamp.scoring import score_files

    found = score_files(task, golds, preds)
    if as_json:
        say(json.dumps(found))
    else:
        print_table([[name, f"{value:.6f}"] for name, value in found.items()], ["metric", "value"])


@cli.command()
@data_option
@task_option
@click.option("--user", required=True, metavar="ID", help="Who; of the history split any user.")
@click.option("--method", required=True, metavar="M", help="For instance rag, pag or prime+rag:k=2.")
@click.option("--split", type=click.Choice(["query", "history"]), default="query", show_default=True)
@with_presets
@seed_option
@plugin_option
@json_option
def prompts(as_json: bool, **options: Any) -> None:
    """Show what a method really sends: every prompt of a user, with its gold.

    Split query: a target's questions, or the questions by which a user adapts the base (whatever the method). Split
    history: what trains or searches a user's model; of a sharer a run leaves the held-out items out, of
    profile texts and fronts too. Where a profiler or a cap of the histories changes what is sent, a note on stderr says
    so.
    """
    from prime_audit.authoring.describe import user_prompts

    found = user_prompts(**options)
    for note in found.notes:
        say(note, err=True)
    if as_json:
        say(json.dumps(found.rows, indent=2, ensure_ascii=False))
        return
    for row in found.rows:
        click.echo(
            f"{click.style(visible(row['id']), bold=True)}\n{visible(row['prompt'])} "
            f"{click.style(visible(row['gold']), fg='green')}\n"
        )


@cli.command()
@click.argument("scores", type=click.Path(path_type=Path))
@seed_option
@json_option
def stats(scores: Path, seed: int, as_json: bool) -> None:
    """Compute every statistic of anyone's membership scores (CSV or JSONL)."""
    from prime_audit.scores.report import describe_scores

    report = describe_scores(scores, seed)
    if as_json:
        say(report.to_json())
        return
    print_table([list(row) for row in report.rows()], list(report.headers()))
    for note in report.notes():
        say(note)


@cli.command()
@click.argument("adapters", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--weights", required=True, help="One number an adapter: 0.5,0.3; or a JSON file, [k] or [layers][k]."
)
@click.option("--rule", type=click.Choice(["delta", "factor"]), default="delta", show_default=True)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder of the merged PEFT adapter."
)
def merge(adapters: tuple[Path, ...], weights: str, rule: str, out: Path) -> None:
    """Merge PEFT adapters into one standard PEFT adapter."""
    from prime_audit.engine.merge import merge_folders

    made = merge_folders(adapters, weights, rule, out)
    say(f"{out}: {len(adapters)} adapters merged by the {rule} rule, rank {made.rank}")


cli.add_command(attack)
cli.add_command(cache)
cli.add_command(calibrate)
cli.add_command(completion)
cli.add_command(examples)
cli.add_command(export)
cli.add_command(leaderboard)
cli.add_command(study)


@cli.group()
def data() -> None:
    """Check, import or make data."""


@data.command()
@click.argument("path", type=click.Path(path_type=Path))
@task_option
@click.option("--strict", is_flag=True, help="Make any defect an error.")
@json_option
def check(path: Path, task: str | None, strict: bool, as_json: bool) -> None:
    """Count users, items and lengths, and report every defect with file and record id."""
    from prime_audit.lamp.check import check as look

    report = look(path, task)
    if as_json:
        say(report.to_json())
    else:
        _print_report(report)
    if strict and report.defects:
        raise UserError(
            f"{path}: {len(report.defects)} defects, the first: {report.defects[0]}; mend them or leave out --strict"
        )


@data.command(name="import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--task", required=True, metavar="T")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to make.")
@click.option(
    "--targets", type=click.IntRange(1), default=100, show_default=True, help="The most who are tested."
)
@click.option(
    "--adapt-share",
    type=click.FloatRange(0, 0.99),
    default=0.25,
    show_default=True,
    help="Who adapts the base.",
)
@seed_option
def import_(file: Path, task: str, out: Path, targets: int, adapt_share: float, seed: int) -> None:
    """Turn plain items (JSONL, CSV, Parquet) into the Per-Pcs layout, split by the seed."""
    from prime_audit.lamp.importer import import_items

    made = import_items(file, task, out, seed, targets=targets, adapt_share=adapt_share)
    say(
        f"{out}: {made.task}, {len(made.adapt)} adaptation users, {len(made.targets)} targets, "
        f"{len(made.candidates)} candidates; {len(made.defects)} defective records left out"
    )
    for defect in made.defects:
        say(f"  {defect}", err=True)


@data.command()
@click.option("--task", required=True, metavar="T")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder in which the task's folder is made."
)
@click.option("--layout", type=click.Choice(["perpcs", "official"]), default="perpcs", show_default=True)
@seed_option
def world(task: str, out: Path, layout: str, seed: int) -> None:
    """Write the built-in world's users in a real layout."""
    from prime_audit.lamp.world.world import write_world

    say(str(write_world(task, out, seed=seed, layout=layout)))  # type: ignore[arg-type]


def exit_if_failed(run: Any) -> None:
    """End with exit code 3 where a part of the run failed while the rest went on."""
    if run.record.failures:
        sys.exit(SOME_FAILED)


def show_run(run: Any, as_json: bool) -> None:
    """Print a run's tables and say where its files are, or its record as JSON."""
    if as_json:
        say(json.dumps(run.record.to_json(), ensure_ascii=False))
        return
    from rich.text import Text

    from prime_audit.report.from_record import sheet_of
    from prime_audit.report.text import terminal

    draw(terminal(sheet_of(run.record, "run"), console().width))
    more = ", failures/" if any(failure.file for failure in run.record.failures) else ""
    draw(Text(f"Everything in {run.path}: record.json, index.html, table.md, frontier.svg{more}"))


def _listing(what: str, plugins: tuple[Path, ...]) -> list[dict[str, Any]]:
    from prime_audit.lamp.tasks import TASKS
    from prime_audit.plugins.loading import available
    from prime_audit.settings import presets

    if what == "tasks":
        return [{"task": t.name, "folder": t.short, "metrics": ", ".join(t.metrics)} for t in TASKS.values()]
    if what == "games":
        from prime_audit.games.deal import GAMES

        return [{"game": g.name, "what": g.summary} for g in GAMES.values()]
    if what == "studies":
        from prime_audit.commands.study import listed

        return listed()
    if what == "presets":
        return [{"preset": p} for p in presets()]
    found = available("method" if what == "methods" else "attack", plugins)
    return [
        {what[:-1]: p.name, "what": p.summary, "from": p.origin, "version": p.version} for p in found.values()
    ]


def _print_report(report: Any) -> None:
    say(f"{report.task} from {report.source} ({report.layout} layout), sha256 {report.sha256[:12]}")
    print_table([list(row) for row in report.rows()], list(report.headers()))
    if report.labels:
        say("labels: " + ", ".join(f"{label} {count}" for label, count in report.labels.items()))
    same = report.duplicates
    say(f"duplicates: {same.exact} exact, {same.near} near, {same.across_users} of them another user's")
    asked = next(role.queries for role in report.roles if role.role == "targets")
    say(f"targets' questions that stand in other users' histories too: {report.shared_questions} of {asked}")
    say(f"defects: {len(report.defects)}")
    for defect in report.defects:
        say(f"  {defect}")
