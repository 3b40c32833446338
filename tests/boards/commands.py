"""The leaderboard commands on a board below ``home``, as a user types them."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from prime_audit.commands.cli import cli

SEEDS = (0, 1)


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cli, words, catch_exceptions=True)


def add(home: Path, run: Path, *more: str) -> Result:
    return invoke("leaderboard", "add", str(run), "--board", "toy", "--home", str(home), *more)


def check(home: Path) -> Result:
    return invoke("leaderboard", "build", "--check", "--home", str(home))
