"""Signals: one line, the shell's exit code, a clean state, and what was kept stays kept."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from prime_audit.io.stopping import Stopped, stopping

from .commands import Server, entries, record, rubbish, times


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "says", "share"),
    [
        (signal.SIGINT, 130, "interrupted", 0.0),
        (signal.SIGTERM, 143, "ended by SIGTERM", 0.5),
        (signal.SIGHUP, 129, "ended by SIGHUP", 1.0),
    ],
)
def test_a_signal_ends_a_run_cleanly(
    server: Server,
    asked: Callable[..., list[str]],
    whole: tuple[Path, Path],
    tmp_path: Path,
    number: int,
    code: int,
    says: str,
    share: float,
) -> None:
    """Each signal at another moment: after the first entry, after half of them, before the last."""
    total = len(entries(whole[0]))
    wanted = 1 + round(share * (total - 2))
    cache, out = tmp_path / "cache", tmp_path / "run"
    run = server.start(*asked(cache, out))
    until = time.monotonic() + 60  # where it ended before, what follows says how
    while len(entries(cache)) < wanted and time.monotonic() < until:
        time.sleep(0.005)
    run.kill(number)
    assert run.wait() == code, run.said
    (line,) = run.lines
    assert line == (
        f"prime-audit: {says}; no unfinished output is left; rerun the same command to resume from the cache"
    )
    assert "Traceback" not in run.said
    assert not out.exists()
    assert rubbish(cache) == []
    kept = len(entries(cache))
    assert kept >= wanted
    server.run(*asked(cache, out))
    assert record(out) == record(whole[1])
    assert times(out)["made"] == total - kept


def test_handlers_are_put_back_and_what_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # nohup
            with pytest.raises(Stopped) as stopped:
                signal.raise_signal(signal.SIGTERM)
        assert stopped.value.code == 143
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
