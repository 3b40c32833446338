"""Progress where there is no terminal: a long stage is told of now and then, a short one once."""

from __future__ import annotations

import re
import time
from itertools import pairwise

import pytest

from prime_audit.runs import ledger as room
from prime_audit.runs.ledger import Ledger


class Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(room.time, "perf_counter", made.perf_counter)
    return made


def lines(ledger: Ledger, clock: Clock, seconds: float, steps: int = 10) -> None:
    """Run a stage of ``steps`` units, each of ``seconds``."""
    with ledger.showing(), ledger.stage("LaMP-2", "prime", "search", steps) as tick:
        for _ in range(steps):
            clock.now += seconds
            tick(1)


def test_a_long_stage_says_how_far_it_is_soon_and_then_every_half_minute(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    lines(Ledger(), clock, 20)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "LaMP-2 · prime · search: 1/10",
        "LaMP-2 · prime · search: 3/10, about 140 s left",
        "LaMP-2 · prime · search: 5/10, about 100 s left",
        "LaMP-2 · prime · search: 7/10, about 60 s left",
        "LaMP-2 · prime · search: 9/10, about 20 s left",
        "LaMP-2 · prime · search: 200.0 s",
    ]


def left(said: str) -> list[int]:
    return [int(n) for n in re.findall(r"about (\d+) s left", said)]


def test_the_estimate_is_of_the_work_that_is_done_here_and_does_not_jump(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of it was kept and comes at once; then batches of 10 and of 50 seconds in turn, 3 seconds a unit."""
    ledger = Ledger()
    with ledger.showing(), ledger.stage(None, None, "answer", 400) as tick:
        clock.now += 1
        tick(200)
        for n in range(6):
            clock.now += (30, 90)[n % 2]
            tick((10, 30)[n % 2])
    found = left(capsys.readouterr().err)
    assert len(found) == 5  # none from the first units, which may have what is done once for all
    truth = [3 * units for units in (160, 150, 120, 110, 80)]
    assert found == pytest.approx(truth, rel=0.02)


def test_the_estimate_follows_a_pace_that_changes(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """From 5 seconds a unit to 1: no line differs by more than half from the one before and what has passed."""
    ledger = Ledger()
    with ledger.showing(), ledger.stage(None, None, "answer", 600) as tick:
        for seconds, units in ((5, 60), (1, 500)):
            for _ in range(units):
                clock.now += seconds
                tick(1)
    found = left(capsys.readouterr().err)
    assert 2600 < found[8] < 2800
    assert found[-1] == pytest.approx(40, abs=40)
    assert all(later > 0.5 * earlier - 35 for earlier, later in pairwise(found))


def test_a_stage_whose_first_units_take_long_says_that_it_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(room, "SOON", 0.01)
    ledger = Ledger()
    with ledger.showing(), ledger.stage("LaMP-2", None, "share", 160):
        time.sleep(0.2)
    with ledger.stage("LaMP-2", None, "read", 0):
        time.sleep(0.05)
    first, *rest = capsys.readouterr().err.splitlines()
    assert first == "LaMP-2 · share: 0/160"
    assert len(rest) == 2


def test_a_short_stage_is_one_line_and_a_quiet_one_none(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    lines(Ledger(), clock, 0.7)
    assert capsys.readouterr().err == "LaMP-2 · prime · search: 7.0 s\n"
    lines(Ledger(quiet=True), clock, 20)
    assert capsys.readouterr().err == ""
