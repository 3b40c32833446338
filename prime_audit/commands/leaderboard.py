"""Commands of the leaderboards: build, check, add, diff. None needs torch."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from prime_audit.commands.options import json_option
from prime_audit.io.terminal import print_table, say

home_option = click.option(
    "--home",
    type=click.Path(path_type=Path),
    default=Path("leaderboards"),
    show_default=True,
    help="The folder that holds the boards.",
)
names_option = click.option(
    "--board", "names", multiple=True, metavar="B", help="Only this board.  [default: all]"
)


@click.group()
def leaderboard() -> None:
    """Leaderboards: tables and pages that anyone can make again from committed records."""


@leaderboard.command()
@home_option
@names_option
@click.option("--check", is_flag=True, help="Write nothing; fail where a file is not what its records give.")
def build(home: Path, names: tuple[str, ...], check: bool) -> None:
    """Make every board's tables, frontier and page from its records."""
    from prime_audit.boards.build import boards, drift, is_empty, strays
    from prime_audit.boards.build import build as make

    found = boards(home, names)
    if check:
        lines = [] if names else list(strays(home))
        lines += [line for board in found for line in drift(board)]
        for line in lines:
            say(line, err=True)
        if lines:
            sys.exit(1)
        for board in (empty := [board for board in found if is_empty(board)]):
            say(f"{board.name}: no records, so nothing to check")
        say(f"{len(found) - len(empty)} leaderboards are what their records give")
        return
    for board in found:
        changed = make(board)
        say(f"{board.name}: " + (", ".join(p.name for p in changed) + " written" if changed else "unchanged"))


@leaderboard.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--board", required=True, metavar="B", help="The board to file it on.")
@click.option("--method", "methods", multiple=True, help="File only this method.  [default: all of the run]")
@home_option
def add(run: Path, board: str, methods: tuple[str, ...], home: Path) -> None:
    """File a finished run's methods on a board, and build it again."""
    from prime_audit.boards.add import add as file_run
    from prime_audit.boards.build import boards
    from prime_audit.boards.build import build as make

    (chosen,) = boards(home, (board,))
    for path in (new := file_run(run, chosen, methods)):
        say(f"filed {path}")
    if not new:
        say("all of it was filed already")
    make(chosen)


@leaderboard.command()
@click.argument("one", type=click.Path(path_type=Path))
@click.argument("other", type=click.Path(path_type=Path))
@json_option
def diff(one: Path, other: Path, as_json: bool) -> None:
    """Show every figure in which two boards, or runs, differ."""
    from prime_audit.boards.add import differences

    rows = list(differences(_sheet(one), _sheet(other)))
    names = ["task", "method", "metric", "game", "attack", str(one), str(other)]
    if as_json:
        say(json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=2, ensure_ascii=False))
    elif rows:
        print_table([list(row) for row in rows], names)
    else:
        say("no figure differs")
    sys.exit(bool(rows))


def _sheet(path: Path) -> Any:
    from prime_audit.boards.build import sheet
    from prime_audit.boards.config import FILE, read_board

    if (path / FILE).is_file():
        return sheet(read_board(path))
    from prime_audit.folder import load_run
    from prime_audit.report.from_record import sheet_of

    return sheet_of(load_run(path).record, path.name)
