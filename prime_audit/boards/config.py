"""A leaderboard's ``board.toml``: what it shows, how its runs must be made, what every row must have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from prime_audit.errors import UserError, unknown
from prime_audit.io import intake
from prime_audit.lamp.tasks import TASKS
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
    """Its folder."""
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
    """The base model."""
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
    board = _built(folder, content)
    _require_sound(board)
    return board


def _built(folder: Path, content: Mapping[str, Any]) -> Board:
    known = {f.name for f in fields(Board)} - {"folder"}
    path = folder / FILE
    for key in content:
        if key not in known:
            raise UserError(f"{path}: {unknown('entry', key, known)}")
    for key in ("name", "title"):
        if not isinstance(content.get(key), str):
            raise UserError(f"{path}: has no {key}; write {key} = '…'")
    lists = ("about", "tasks", "methods", "games", "attacks", "findings", "seeds")
    for key, kind in {**dict.fromkeys(lists, list), "columns": dict, "run": dict}.items():
        if key in content and not isinstance(content[key], kind):
            raise UserError(f"{path}: {key} is not a {kind.__name__}; fix it")
    _require_elements(path, content)
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
    values["findings"] = tuple(_expected(path, claim) for claim in content.get("findings", ()))
    return Board(folder=folder, **values)


def _require_elements(path: Path, content: Mapping[str, Any]) -> None:
    """Refuse elements of the wrong type."""
    for key in ("name", "title", "kind", "command", "model"):
        if not isinstance(content.get(key, ""), str):
            raise UserError(f"{path}: {key} is not a text; fix it")
    for key in ("about", "tasks", "methods", "games", "attacks"):
        if not all(isinstance(value, str) for value in content.get(key, ())):
            raise UserError(f"{path}: {key} has an element that is not a text; fix it")
    for key in ("tasks", "methods", "games", "attacks", "seeds"):
        if twice := next((v for v, n in Counter(map(str, content.get(key, ()))).items() if n > 1), None):
            raise UserError(f"{path}: {key} names {twice!r} more than once; name it once")
    if not all(isinstance(d, str) for d in content.get("columns", {}).values()):
        raise UserError(f"{path}: a column's direction is not a text; use one of {', '.join(DIRECTIONS)}")
    seeds = content.get("seeds", [0])
    if not seeds or not all(type(seed) is int for seed in seeds):
        raise UserError(f"{path}: seeds is not a list of whole numbers; write for example seeds = [0, 1, 2]")
    if not isinstance(content.get("run", {}).get("set", {}), dict):
        raise UserError(f"{path}: run.set is not a table; write [run.set] with KEY = VALUE below it")
    if (preset := content.get("run", {}).get("preset", "laptop")) not in presets():
        raise UserError(f"{path}: {unknown('preset', str(preset), presets())}")


def _expected(path: Path, claim: Any) -> Expected:
    try:
        found = Expected(claim["quote"], tuple((a, b) for a, b in claim["pairs"]), claim.get("of", "utility"))
        found = replace(found, says=claim.get("says", "always"))
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path}: a finding is quote = '…', pairs = [[method, against], …]; fix it") from None
    if found.of not in ("utility", "auc"):
        raise UserError(f"{path}: {unknown('figure of a finding', found.of, ('utility', 'auc'))}")
    if found.says not in SAYINGS:
        raise UserError(f"{path}: {unknown('quantifier of a finding', str(found.says), SAYINGS)}")
    return found


def _require_sound(board: Board) -> None:
    if board.name != board.folder.resolve().name:
        raise UserError(
            f"{board.path}: name is {board.name!r}, its folder's is {board.folder.resolve().name!r}"
        )
    if board.kind not in KINDS:
        raise UserError(f"{board.path}: {unknown('kind', board.kind, KINDS)}")
    for task in board.tasks if board.kind == "measured" else ():
        if task not in TASKS:
            raise UserError(f"{board.path}: {unknown('task', task, TASKS)}")
    for metric, direction in (board.columns or {}).items():
        if direction not in DIRECTIONS:
            raise UserError(f"{board.path}: columns.{metric}: {unknown('direction', direction, DIRECTIONS)}")
