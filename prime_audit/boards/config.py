"""A leaderboard's ``board.toml``: what it shows, how its runs must be made, what every row must have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prime_audit.boards.entries import entry
from prime_audit.errors import UserError, unknown
from prime_audit.io import intake
from prime_audit.lamp.tasks import TASKS
from prime_audit.plan.presets import FIRST
from prime_audit.settings import presets

FILE = "board.toml"
KINDS = ("measured", "reported")
SAYINGS = ("always", "often", "no worse")
"""What a claim says about its comparisons."""
DIRECTIONS = {"higher": True, "lower": False, "half": None}
"""How a column is read: larger is better, smaller is better, or ½ is chance (an AUC: no order)."""


@dataclass(frozen=True)
class Expected:
    """A claim that a measured board can check: pairs of methods, the first better than the second."""

    quote: str
    """The paper's words."""
    pairs: tuple[tuple[str, str], ...]
    """(method, against) labels."""
    of: str = "utility"
    """``utility``: every metric; ``auc``: every game and attack."""
    says: str = "always"
    """``always`` better, ``often`` (in most comparisons), or ``no worse``."""


@dataclass(frozen=True, kw_only=True)
class Board:
    """One leaderboard's rules."""

    folder: Path
    name: str
    """Its folder's name."""
    title: str
    """One line."""
    kind: str = "measured"
    """``measured``: filed records of runs; ``reported``: a publication's figures."""
    about: tuple[str, ...] = ()
    """Paragraphs shown above the table."""
    command: str = ""
    """The command of one of its runs, with ``{seed}`` in place of the seed."""
    model: str = ""
    tasks: tuple[str, ...] = ()
    """Its tasks, in order."""
    methods: tuple[str, ...] = ()
    """Required rows, in order; other filed methods follow them."""
    games: tuple[str, ...] = ()
    """Membership games that every run must have played."""
    attacks: tuple[str, ...] = ()
    """Attacks that every run must have scored."""
    seeds: tuple[int, ...] = (0,)
    """The seeds behind every figure: exactly these, so that a column compares the same questions."""
    columns: Mapping[str, str] | None = None
    """Metric → direction (higher, lower, half); metrics not named are not shown."""
    findings: tuple[Expected, ...] = ()
    """Claims of the paper that its records are checked against."""
    run: Mapping[str, Any] | None = None
    """What every run's specification must be: data, model, preset, overrides. Anything else is a limited run."""

    @property
    def path(self) -> Path:
        """Its file."""
        return self.folder / FILE


def read_board(folder: Path) -> Board:
    """Read ``folder``/board.toml; UserError if it is missing, broken or inconsistent."""
    path = folder / FILE
    try:
        content = intake.read_toml(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; a leaderboard is a folder with a {FILE}") from None
    except ValueError as error:
        raise UserError(f"{path} is not TOML ({error}); fix it") from None
    board = entry(Board, content, str(path), folder=folder)
    _require_sound(board)
    return board


def _require_sound(board: Board) -> None:
    if board.name != board.folder.resolve().name:
        raise UserError(
            f"{board.path}: name is {board.name!r}, its folder's is {board.folder.resolve().name!r}"
        )
    if board.kind not in KINDS:
        raise UserError(f"{board.path}: {unknown('kind', board.kind, KINDS)}")
    _require_once(board)
    if not board.seeds:
        raise UserError(f"{board.path}: seeds is empty; write for example seeds = [0, 1, 2]")
    for claim in board.findings:
        if claim.of not in ("utility", "auc"):
            raise UserError(f"{board.path}: {unknown('figure of a finding', claim.of, ('utility', 'auc'))}")
        if claim.says not in SAYINGS:
            raise UserError(f"{board.path}: {unknown('quantifier of a finding', claim.says, SAYINGS)}")
    _require_run(board)
    for task in board.tasks if board.kind == "measured" else ():
        if task not in TASKS:
            raise UserError(f"{board.path}: {unknown('task', task, TASKS)}")
    for metric, direction in (board.columns or {}).items():
        if direction not in DIRECTIONS:
            raise UserError(f"{board.path}: columns.{metric}: {unknown('direction', direction, DIRECTIONS)}")


def _require_once(board: Board) -> None:
    """Refuse a list that names something twice."""
    for key in ("tasks", "methods", "games", "attacks", "seeds"):
        names = getattr(board, key)
        if twice := next((str(name) for name in names if names.count(name) > 1), None):
            raise UserError(f"{board.path}: {key} names {twice!r} more than once; name it once")


def _require_run(board: Board) -> None:
    """Refuse settings that are no table, and a preset that does not exist."""
    run = board.run or {}
    if not isinstance(run.get("set", {}), dict):
        raise UserError(f"{board.path}: run.set is not a table; write [run.set] with KEY = VALUE below it")
    if (preset := str(run.get("preset", FIRST))) not in presets():
        raise UserError(f"{board.path}: {unknown('preset', preset, presets())}")
