"""How a command shares the cores: its threads, how they wait, what it says of a busy machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from prime_audit import Run
from prime_audit.errors import UserError
from prime_audit.io import cores


def test_threads_are_set_before_torch_is_imported() -> None:
    script = """
import sys
from prime_audit.commands.options import share_cores
share_cores(1)
assert "torch" not in sys.modules and "numpy" not in sys.modules
import torch
from threadpoolctl import threadpool_info
print(torch.get_num_threads(), *{pool["num_threads"] for pool in threadpool_info()})
"""
    environment = {k: v for k, v in os.environ.items() if k not in cores.THREADS}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == ["1", "1"]


def test_a_run_has_its_threads_and_gives_them_back(quick: Callable[..., Run]) -> None:
    before = torch.get_num_threads(), [os.environ.get(name) for name in cores.THREADS]
    run = quick("np", threads=2, games="")
    assert run.record.hardware["threads"] == 2
    assert "threads" not in run.record.spec
    assert "--threads" not in run.record.command
    assert (torch.get_num_threads(), [os.environ.get(name) for name in cores.THREADS]) == before
    with pytest.raises(UserError, match="--threads 0"):
        quick("np", threads=0, games="")


def test_the_command_takes_them(say: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in cores.THREADS:
        monkeypatch.setenv(name, "1")
    said = say("compare", "--threads", "0", "--methods", "np")
    assert said.code == 2
    assert "--threads 0: pass a whole number of at least 1" in said.err
    assert say("calibrate", "--threads", "0").err == said.err
    for command in ("compare", "plan", "study", "attack", "export", "calibrate"):
        assert "--threads" in say(command, "--help").out


@pytest.mark.parametrize("said", [{}, {"GOMP_SPINCOUNT": "10"}, {"OMP_WAIT_POLICY": "active"}])
def test_threads_wait_passively_only_where_the_machine_is_busy_and_the_user_says_nothing(
    said: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in cores.WAITING:
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    cores.make_way()  # a quiet machine, by the fixture of all tests
    assert dict(os.environ) == before
    assert cores.caution() == ()
    monkeypatch.setattr(cores, "busy", lambda: 4.2)
    monkeypatch.setenv("OMP_WAIT_POLICY", said.get("OMP_WAIT_POLICY", ""))  # restored afterwards
    if "OMP_WAIT_POLICY" not in said:
        del os.environ["OMP_WAIT_POLICY"]
    cores.make_way()
    assert dict(os.environ) == before | ({} if said else {"OMP_WAIT_POLICY": "passive"})
    (line,) = cores.caution()
    assert line.startswith("load 4.2 on ")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Fake a machine of 4 cores: ``load``, and how many cores ``own`` and ``others`` use; time passes in sleep only."""
    import psutil

    found = SimpleNamespace(load=0.0, own=0.0, others=0.0, now=100.0)
    Times = namedtuple("Times", "user system idle iowait guest")

    def sleep(seconds: float) -> None:
        found.now += seconds

    def times() -> Any:
        used = found.now * (found.own + found.others)
        # Half of what is used is a guest's, and so the user's, too; half of what is unused waits for a disk.
        left = found.now * 4 - used
        return Times(used * 0.75, used * 0.25, left / 2, left / 2, used / 2)

    monkeypatch.setattr(psutil, "cpu_times", times)
    monkeypatch.setattr(cores, "time", SimpleNamespace(perf_counter=lambda: found.now, sleep=sleep))
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr("os.getloadavg", lambda: (found.load, 9.0, 9.0), raising=False)
    monkeypatch.setattr("os.times", lambda: SimpleNamespace(user=found.now * found.own, system=0.0))
    return found


@pytest.mark.parametrize(
    ("load", "own", "others", "is_busy"),
    [
        (2.9, 0.0, 4.0, False),  # a load that leaves a core
        (3.0, 0.0, 1.5, True),
        (3.0, 0.0, 1.4, False),  # what made the load has ended
        (3.0, 3.0, 0.5, False),  # this process is the load
        (9.0, 1.0, 3.0, True),
    ],
)
def test_a_machine_is_busy_where_others_make_its_load_and_still_run(
    machine: SimpleNamespace, load: float, own: float, others: float, is_busy: bool
) -> None:
    machine.load, machine.own, machine.others = load, own, others
    assert cores.busy() == (load if is_busy else None)


def test_the_cores_of_others_are_all_but_this_processs_and_the_idle_ones(machine: SimpleNamespace) -> None:
    machine.own, machine.others = 1.0, 2.5
    meanwhile = cores.Others()
    assert meanwhile.cores() == 0.0  # no time has passed
    cores.time.sleep(10)
    assert meanwhile.cores() == pytest.approx(2.5)
