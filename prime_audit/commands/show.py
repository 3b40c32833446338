"""``prime-audit show``."""

from __future__ import annotations

from pathlib import Path

import click

from prime_audit.commands.options import shared
from prime_audit.commands.printing import PATH, about, show_run
from prime_audit.errors import UserError
from prime_audit.io.terminal import say


@about("Print the tables of a finished run.", "show runs/first", "show runs/first --risk no-leak-found")
@click.command()
@click.argument("run", type=PATH)
@click.option(
    "--risk",
    metavar="[no-leak-shown|no-leak-found|auc-X|epsilon-X]",
    help="Name the best methods among those whose risk you accept, over all games played: X is 0.05, 0.1 or 0.2 of AUC "
    "over the base, 0.5 or 1 of ε.",
)
@shared("details", "explain", "json")
def command(run: Path, risk: str | None, as_json: bool, **how: bool) -> None:
    """Print the tables of a finished run."""
    from prime_audit.folder import load_run
    from prime_audit.report.from_record import sheet_of
    from prime_audit.report.risk import choice_of
    from prime_audit.report.summary import at_risk

    if risk and as_json:
        raise UserError("--risk chooses among tables' rows: leave out --json")
    choice = choice_of(risk) if risk else None
    found = load_run(run)
    show_run(found, as_json, **how)
    if choice:
        for line in (f"Accepted risk: {choice.says}", *at_risk(sheet_of(found.record, "run"), choice)):
            say(line)
