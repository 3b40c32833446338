"""How time grows with targets, candidates and history, and that memory does not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from prime_audit.engine.engine import Engine
from prime_audit.engine.mixture import Mixture, Request

from . import hunt
from .shapes import Room, candidates
from .side_by_side import exponent, sweep

SMALLEST = {"targets": 6, "candidates": 5, "history": 8}
"""On a CPU the largest are eight times these; a search of fewer models does not fill its batches, and a pass that is
half empty makes the larger ones look cheap."""
TINY = {"targets": 1, "candidates": 5, "history": 2}


@pytest.fixture
def engine(room: Room) -> Engine:
    """Batches that the smallest size fills: a batch half empty would make growth look slower than it is."""
    hunt.endless(room)
    return hunt.ready_engine(room, 16384 if room.big and room.full else 2048)


def sizes(room: Room, least: int) -> list[int]:
    if not room.full:
        return [least, 2 * least]
    return [least * 2**i for i in range(3 if room.big else 4)]


def grow(
    room: Room,
    benchmark: Any,
    board: list[str],
    rounds: int,
    title: str,
    runs: dict[int, Callable[[], object]],
) -> None:
    """Time every size in turn; write the exponent, and check that the work itself is proportional."""
    asked: dict[int, int] = {}

    def counted(size: int) -> None:
        before = room.base.spent.requests
        runs[size]()
        asked[size] = room.base.spent.requests - before

    ways = [partial(counted, size) for size in runs]
    times = sweep(benchmark, room, rounds if room.full else 1, ways)
    power = exponent(list(runs), times)
    benchmark.extra_info["exponent"] = power
    board.append(f"{title} {[*runs]}: {' '.join(f'{t:.3g}' for t in times)} s, exponent {power:.3f}")
    # A search whose recommendation is a point it has seen does not ask it again: one candidate more or less.
    assert asked[max(runs)] / asked[min(runs)] == pytest.approx(max(runs) / min(runs), rel=1 / min(runs))


@pytest.mark.parametrize("axis", SMALLEST)
def test_search(room: Room, engine: Engine, benchmark: Any, board: list[str], rounds: int, axis: str) -> None:
    """Time goes with the number of models tried: candidates, and beside them the recommendation."""
    runs: dict[int, Callable[[], object]] = {}
    least = SMALLEST if room.full else TINY
    for n in sizes(room, least[axis]):
        shape = least | {axis: n}
        history = hunt.examples(room, shape["targets"], shape["history"])
        budget = shape["candidates"]
        tried = hunt.evaluations(budget) if axis == "candidates" else n
        runs[tried] = partial(hunt.search, engine, history, budget)
    grow(room, benchmark, board, rounds, f"search over {axis}", runs)


@pytest.mark.parametrize("axis", ["targets", "history"])
def test_scoring(
    room: Room, engine: Engine, benchmark: Any, board: list[str], rounds: int, axis: str
) -> None:
    """Each target's module scores the same items."""
    runs: dict[int, Callable[[], object]] = {}
    for n in sizes(room, 6 if room.full else 2):
        modules, each = (n, 10 if room.full else 2) if axis == "targets" else (6, n)
        pairs = [(e.prompt, e.gold) for own in hunt.examples(room, 3, each).values() for e in own]
        mixtures = [Mixture(tuple(engine.bank.names[:3]), w) for w in candidates(modules, 3)]
        asked = [Request(p, m, gold=g) for m in mixtures for p, g in pairs]
        runs[n] = partial(engine.score, asked)
    grow(room, benchmark, board, rounds, f"scoring over {axis}", runs)


def test_memory(room: Room, benchmark: Any, board: list[str]) -> None:
    """Peak of fresh processes that search for few and for ten times as many targets."""
    few, many = (10, 100) if room.full else (1, 2)
    folder = Path(__file__).parent

    def measure(targets: int) -> float:
        words = (room.shape, room.base.device.type, room.full, targets, 12 if room.full else 2, 5)
        if not room.full:
            return hunt.peak(*words)
        path = f"import sys; sys.path.insert(0, {str(folder.parent)!r})"
        code = f"{path}; from benchmarks import hunt; print(hunt.peak{words})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return float(done.stdout.split()[-1])

    small = measure(few)
    large = benchmark.pedantic(measure, (many,), rounds=1)
    benchmark.extra_info["peak"] = {few: small, many: large}
    board.append(
        f"peak memory of a search: {few} targets {small / 2**20:.0f} MiB, {many} targets {large / 2**20:.0f} MiB "
        f"({large / small - 1:+.1%})"
    )
    assert small > 0
    assert large > 0
