"""A built board, and the cells and claims of the published paper board."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from prime_audit.boards.cells import Cell, read_cells
from prime_audit.boards.claims import Claim, ClaimResult, evaluate, read_claims

from .commands import SEEDS, add
from .invented import board_at, run_at, run_record

PAPER = Path(__file__).parents[2] / "leaderboards" / "paper"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a board with two seeds filed, and build it."""
    root = tmp_path_factory.mktemp("built")
    board_at(root / "leaderboards")
    for seed in SEEDS:
        assert add(root / "leaderboards", run_at(root / f"run{seed}", run_record(seed))).exit_code == 0
    return root / "leaderboards"


@pytest.fixture
def home(built: Path, tmp_path: Path) -> Path:
    """Copy it, to be changed."""
    return Path(shutil.copytree(built, tmp_path / "leaderboards"))


@pytest.fixture(scope="session")
def paper() -> tuple[Cell, ...]:
    """Read the cells of the published tables."""
    return read_cells(PAPER / "cells.json").cells


@pytest.fixture(scope="session")
def claims() -> tuple[Claim, ...]:
    return read_claims(PAPER / "claims.json")


@pytest.fixture(scope="session")
def results(paper: tuple[Cell, ...], claims: tuple[Claim, ...]) -> tuple[ClaimResult, ...]:
    return evaluate(claims, paper)
