"""Progress where there is no terminal: a long stage is told of now and then, a short one once."""

from __future__ import annotations

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


def test_a_long_stage_says_how_far_it_is_every_half_minute(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    lines(Ledger(), clock, 20)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "LaMP-2 · prime · search: 2/10, about 160 s left",
        "LaMP-2 · prime · search: 4/10, about 120 s left",
        "LaMP-2 · prime · search: 6/10, about 80 s left",
        "LaMP-2 · prime · search: 8/10, about 40 s left",
        "LaMP-2 · prime · search: 200.0 s",
    ]


def test_a_short_stage_is_one_line_and_a_quiet_one_none(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    lines(Ledger(), clock, 2.9)
    assert capsys.readouterr().err == "LaMP-2 · prime · search: 29.0 s\n"
    lines(Ledger(quiet=True), clock, 20)
    assert capsys.readouterr().err == ""
