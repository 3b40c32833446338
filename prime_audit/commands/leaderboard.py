"""``prime-audit leaderboard``: new, build, check, add, diff. None needs torch."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from prime_audit.commands.options import shared
from prime_audit.commands.printing import PATH, about, show_rows
from prime_audit.io.terminal import say

HOME = Path("leaderboards")
home_option = click.option(
    "--home",
    type=PATH,
    default=HOME,
    show_default=True,
    help="The folder that holds the boards.",
)
names_option = click.option(
    "--board", "names", multiple=True, metavar="B", help="Only this board; repeatable.  [default: all]"
)


@about(
    "Start, build, check, extend or compare leaderboards.",
    "leaderboard build --check",
    "leaderboard add runs/first --board world",
)
@click.group()
def command() -> None:
    """Leaderboards: tables and pages that anyone can rebuild from committed records."""


@about("Write a board.toml to start from.", "leaderboard new my_board")
@command.command()
@click.argument("name")
@home_option
def new(name: str, home: Path) -> None:
    """Write NAME/board.toml in the folder of boards: a small working board, to be changed."""
    from prime_audit.boards.start import new_board

    where = ["--board", name, *(["--home", str(home)] if home != HOME else [])]
    say(f"{new_board(home, name)}: change it; its tables then show the commands of its runs:")
    say(f"  prime-audit leaderboard build {shlex.join(where)}")


@about(
    "Build tables, figures and pages from the records.",
    "leaderboard build",
    "leaderboard build --check --board world",
)
@command.command()
@home_option
@names_option
@click.option(
    "--check", is_flag=True, help="Write nothing; fail if a file differs from what its records give."
)
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


@about(
    "File a run on a board and rebuild the board.", "leaderboard add runs/first --board world --method prime"
)
@command.command()
@click.argument("run", type=PATH)
@click.option("--board", required=True, metavar="B", help="The board.")
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="M",
    help="Only this method; repeatable.  [default: all of the run]",
)
@home_option
def add(run: Path, board: str, methods: tuple[str, ...], home: Path) -> None:
    """File the methods of a finished run on a board and rebuild it; refused in one line if not comparable."""
    from prime_audit.boards.add import add as file_run
    from prime_audit.boards.build import boards
    from prime_audit.boards.build import build as make

    (chosen,) = boards(home, (board,))
    for path in (new := file_run(run, chosen, methods)):
        say(f"filed {path}")
    if not new:
        say("nothing to add: all of it is filed already")
    make(chosen)


@about(
    "Show the results in which two boards or runs differ.", "leaderboard diff leaderboards/world runs/first"
)
@command.command()
@click.argument("one", type=PATH)
@click.argument("other", type=PATH)
@shared("json")
def diff(one: Path, other: Path, as_json: bool) -> None:
    """Show every result in which two boards or runs differ; exit code 1 if there is one."""
    from prime_audit.boards.add import differences
    from prime_audit.boards.build import measured

    rows = list(differences(measured(one)[0], measured(other)[0]))
    names = ["task", "method", "metric", "game", "attack", str(one), str(other)]
    if rows or as_json:
        show_rows([dict(zip(names, row, strict=True)) for row in rows], as_json)
    else:
        say("no result differs")
    sys.exit(bool(rows))
