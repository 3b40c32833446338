"""Options, the model of a shape, and the table that is printed when the session ends."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
import torch

from .ceilings import copy_rate, matrix_rate
from .shapes import SHAPES, Room, build
from .side_by_side import SideBySide

BOARD = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("prime-audit benchmarks")
    group.addoption("--device", default="cpu", help="cpu or cuda")
    group.addoption(
        "--shape", default="mini", choices=SHAPES, help="the model: mini, or random weights of a shape"
    )
    group.addoption("--dtype", default="auto", help="number format; auto: bfloat16 on a GPU, else float32")
    group.addoption("--threads", type=int, default=0, help="CPU threads of timed runs; 0: all cores")
    group.addoption("--rounds", type=int, default=5, help="how often each side is timed")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[BOARD] = []


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if config.stash[BOARD]:
        terminalreporter.section("side by side")
        for line in config.stash[BOARD]:
            terminalreporter.write_line(line)


def option(config: pytest.Config, name: str, default: Any) -> Any:
    """Read an option; its default where the folder was not named on the command line, so that pytest never saw it."""
    return config.getoption(name, default)


@pytest.fixture
def board(pytestconfig: pytest.Config, benchmark: Any) -> list[str]:
    """Return the lines to print; where nothing is timed, a list that nobody prints."""
    return [] if benchmark.disabled else pytestconfig.stash[BOARD]


@pytest.fixture(autouse=True)
def _threads(benchmark: Any, pytestconfig: pytest.Config) -> Iterator[None]:
    """Time with all cores, as a user's torch does; smoke tests run on one."""
    before = torch.get_num_threads()
    asked = option(pytestconfig, "threads", 0) or os.cpu_count() or 1
    torch.set_num_threads(1 if benchmark.disabled else asked)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def _built(pytestconfig: pytest.Config) -> Callable[[bool], Room]:
    """Build the shape's model once a session."""
    given = {"shape": "mini", "device": "cpu", "dtype": "auto"}
    chosen = {name: option(pytestconfig, name, default) for name, default in given.items()}
    return cache(lambda full: build(full=full, **chosen))


@pytest.fixture
def room(_built: Callable[[bool], Room], benchmark: Any) -> Iterator[Room]:
    """Return the model of this session's shape; what a test does to its stops is undone."""
    room = _built(not benchmark.disabled)
    before = room.base.stops
    yield room
    room.base.stops = before


@pytest.fixture(scope="session")
def _ceilings(pytestconfig: pytest.Config) -> Callable[[Room], tuple[float, float]]:
    """Measure the ceilings once a session: FLOP/s of a matrix product, bytes/s of a copy."""

    @cache
    def measure(room: Room) -> tuple[float, float]:
        flops, bandwidth = matrix_rate(room), copy_rate(room)
        config = pytestconfig.stash[BOARD]
        where = torch.cuda.get_device_name() if room.cuda else f"{torch.get_num_threads()} CPU threads"
        config.append(
            f"{where}, {room.shape}, {room.base.dtype}, torch {torch.__version__}, {time.strftime('%F')}"
        )
        config.append(f"ceilings: matrix product {flops:.3g} FLOP/s, copy {bandwidth:.3g} bytes/s")
        return flops, bandwidth

    return measure


@pytest.fixture
def ceilings(_ceilings: Callable[[Room], tuple[float, float]], room: Room) -> tuple[float, float]:
    """Return FLOP/s and bytes/s that this machine reached in this session; in a smoke test, 1 each."""
    return _ceilings(room) if room.full else (1.0, 1.0)


@pytest.fixture
def rounds(pytestconfig: pytest.Config) -> int:
    """Return how often each side is timed."""
    return int(option(pytestconfig, "rounds", 5))


@pytest.fixture
def side_by_side(
    benchmark: Any, board: list[str], room: Room, rounds: int, ceilings: tuple[float, float]
) -> SideBySide:
    """Return the stopwatch."""
    return SideBySide(benchmark, board, room, rounds, ceilings[0])
