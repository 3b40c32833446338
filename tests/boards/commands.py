"""The leaderboard commands on a board below ``home``, as a user types them."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from prime_audit.commands.cli import cli

from .invented import board_at, run_at, run_record

SEEDS = (0, 1)


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cli, words, catch_exceptions=True)


def add(home: Path, run: Path, *more: str) -> Result:
    return invoke("leaderboard", "add", str(run), "--board", "toy", "--home", str(home), *more)


def check(home: Path) -> Result:
    return invoke("leaderboard", "build", "--check", "--home", str(home))


def built(folder: Path) -> Path:
    """Make a board with two seeds filed, and build it."""
    home = folder / "leaderboards"
    board_at(home)
    for seed in SEEDS:
        assert add(home, run_at(folder / f"run{seed}", run_record(seed))).exit_code == 0
    return home
