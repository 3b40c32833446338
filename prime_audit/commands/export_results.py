"""``prime-audit export-results``. Needs no torch."""

from __future__ import annotations

import time
from pathlib import Path

import click

from prime_audit.commands.printing import PATH, about
from prime_audit.errors import UserError
from prime_audit.io.terminal import say


@about(
    "Write results in the schema of Every Eval Ever.",
    "export-results runs/first --format eee --out eee",
    "export-results leaderboards/world --organization 'My lab' --out eee",
)
@click.command()
@click.argument("source", metavar="RUN|BOARD", type=PATH)
@click.option(
    "--format",
    "form",
    type=click.Choice(["eee"]),
    default="eee",
    show_default=True,
    help="What to write; eee: records of Every Eval Ever.",
)
@click.option(
    "--organization",
    metavar="NAME",
    default="unknown",
    show_default=True,
    help="Who provides the results: your lab or company.",
)
@click.option("--out", type=PATH, default=Path("eee"), show_default=True, help="New folder to write.")
def command(source: Path, form: str, organization: str, out: Path) -> None:
    """Write the results of a run, or of a measured board, as records of Every Eval Ever.

    OUT/data/… has one file for each method: utility, and leakage by game and attack, each with its interval and n, and
    leakage with its verdict and the reason. No answer, text or user is written.
    """
    from prime_audit.boards.build import measured
    from prime_audit.lamp.world.world import staged
    from prime_audit.report.eee import eee_files

    sheet, records = measured(source)
    files = eee_files(sheet, records, organization, time.time())
    if not files:
        raise UserError(
            f"{source}: no record has a figure: pass the folder of a run, or of a board with filed runs"
        )
    with staged(out) as draft:
        for name, content in files.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            (draft / name).write_text(content, encoding="utf-8")
    lacking = sum(f.value is None for f in sheet.figures)
    say(f"{out}: {len(files)} files, one for each method, with {len(sheet.figures) - lacking} results")
    if lacking:
        say(f"{lacking} results do not apply or have no figure; not_applicable in source_metadata says why")
