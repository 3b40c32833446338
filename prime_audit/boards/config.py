"""A leaderboard's ``board.toml``: what it shows, how its runs must be made, what every row must have."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prime_audit.boards.entries import entry
from prime_audit.errors import UserError, unknown
from prime_audit.io import intake
from prime_audit.lamp.tasks import TASKS
from prime_audit.plan.kinds import value_text
from prime_audit.plan.options import deciding, option_words
from prime_audit.plan.presets import FIRST
from prime_audit.settings import presets

FILE = "board.toml"
KINDS = ("measured", "reported")
CLAIMS = (UTILITY_CLAIM, AUC_CLAIM, SHARING_CLAIM) = ("utility", "auc", "sharing")
"""What a claim is of."""
SAYINGS = ("always", "often", "no worse")
"""What a claim says about its comparisons."""
_APART = ("set", "seeds", "tasks")
"""Entries of ``run`` that are no option of a run."""
DIRECTIONS = {"higher": True, "lower": False, "half": None}
"""How a column is read: larger is better, smaller is better, or ½ is chance (an AUC: no order)."""


@dataclass(frozen=True)
class Expected:
    """A claim that a measured board can check: pairs of methods, the first better than the second."""

    quote: str
    """The paper's words."""
    pairs: tuple[tuple[str, str], ...]
    """(method, against) labels."""
    of: str = UTILITY_CLAIM
    """``utility``: every metric; ``auc``: games and attacks; ``sharing``: a merged model's AUC in the game heldout
    against that of the shared adapters (the game adapter), on the same items."""
    says: str = "always"
    """``always`` better, ``often`` (in most comparisons), or ``no worse``."""
    games: tuple[str, ...] = ()
    """Of an AUC: the games that the claim is of; empty: all."""
    attacks: tuple[str, ...] = ()
    """Of an AUC: the attacks that the claim is of; empty: all."""

    def asks(self, game: str | None, attack: str | None) -> bool:
        """Whether the claim is of a game and an attack."""
        return game in (self.games or (game,)) and attack in (self.attacks or (attack,))


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
    """The command of one of its runs: ``{run}`` means all that the board requires, ``{seed}`` the seed."""
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
    """The seeds behind every figure: exactly these, so that a column compares the same questions. A task may have its
    own, in ``run.tasks``."""
    columns: Mapping[str, str] | None = None
    """Metric → direction (higher, lower, half); metrics not named are not shown."""
    findings: tuple[Expected, ...] = ()
    """Claims of the paper that its records are checked against."""
    run: Mapping[str, Any] | None = None
    """What every run's specification must be: options by keyword (data, model, preset), and settings in ``run.set``.
    ``run.tasks.TASK`` adds or replaces options, ``set`` and ``seeds`` for one task. Anything else is a limited run."""

    @property
    def path(self) -> Path:
        """Its file."""
        return self.folder / FILE

    def seeds_of(self, task: str) -> tuple[int, ...]:
        """Return the seeds behind a task's figures."""
        return tuple(self._of(task).get("seeds", self.seeds))

    def options_of(self, task: str) -> dict[str, Any]:
        """Return what a task's runs must have in their specification, by keyword; settings apart."""
        both = {**(self.run or {}), **self._of(task)}
        return {key: value for key, value in both.items() if key not in _APART}

    def settings_of(self, task: str) -> dict[str, Any]:
        """Return the settings that a task's runs must change, and to what."""
        return {**(self.run or {}).get("set", {}), **self._of(task).get("set", {})}

    def commands(self) -> list[str]:
        """Write the command of its runs; one for each task where tasks have their own data or settings."""
        apart = "{run}" in self.command and any(self._of(task) for task in self.tasks)
        groups = [(task,) for task in self.tasks] if apart else [self.tasks]
        return [self._command(tasks) for tasks in groups if self.command]

    def command_for(self, task: str, seed: int) -> str:
        """Write the command of a run of one task, with this seed if the board has it; empty where it has no command."""
        seeds = self.seeds_of(task)
        return self._command((task,)).replace("{seed}", str(seed if seed in seeds else seeds[0]))

    def _command(self, tasks: tuple[str, ...]) -> str:
        own = self.settings_of(tasks[0]) if tasks else {}
        asked = {
            **{"methods": self.methods, "tasks": tasks, "games": self.games, "attacks": self.attacks},
            **(self.options_of(tasks[0]) if tasks else {}),
            "overrides": [f"{key}={value_text(value)}" for key, value in own.items()],
        }
        words = option_words("compare", {key: value for key, value in asked.items() if value not in ((), [])})
        return self.command.replace("{run}", shlex.join(words))

    def _of(self, task: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = (self.run or {}).get("tasks", {}).get(task, {})
        return found


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
        if claim.of not in CLAIMS:
            raise UserError(f"{board.path}: {unknown('figure of a finding', claim.of, CLAIMS)}")
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
    """Refuse what no run can be: unknown options, tasks and presets, settings that are no table, wrong seeds."""
    tables = {"run": board.run or {}}
    of_tasks = tables["run"].get("tasks", {})
    _require_table(board, "run.tasks", of_tasks)
    for task, own in of_tasks.items():
        _require_table(board, f"run.tasks.{task}", own)
        if task not in board.tasks:
            raise UserError(f"{board.path}: run.tasks: {unknown('task', task, board.tasks)}")
        tables[f"run.tasks.{task}"] = own
    for where, table in tables.items():
        _require_table(board, f"{where}.set", table.get("set", {}))
        words = {row.word for row in deciding()} - {"overrides", "seed"} | {"set", "tasks"}
        known = words - {"tasks"} | {"seeds"} if where != "run" else words
        for key in table:
            if key not in known:
                raise UserError(f"{board.path}: {where}: {unknown('entry', key, known)}")
        seeds = table.get("seeds", [0])
        if not isinstance(seeds, list) or not seeds or not all(type(seed) is int for seed in seeds):
            raise UserError(f"{board.path}: {where}.seeds is no list of seeds; write for example [0, 1]")
        if len({*seeds}) < len(seeds):
            raise UserError(f"{board.path}: {where}.seeds names a seed more than once; name it once")
        if (preset := str(table.get("preset", FIRST))) not in presets():
            raise UserError(f"{board.path}: {unknown('preset', preset, presets())}")


def _require_table(board: Board, where: str, found: Any) -> None:
    if not isinstance(found, dict):
        raise UserError(f"{board.path}: {where} is not a table; write [{where}] with KEY = VALUE below it")
