"""Two nodes on one machine: the local record, whoever dies; nodes that are not alike do not take part."""

from __future__ import annotations

import json
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prime_audit.errors import UserError
from prime_audit.runs.executors import on_ray

# A cluster of the tests' own, which nobody else can give work to; Ray reads this when it is imported.
os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(16), RAY_USAGE_STATS_ENABLED="0")
ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow
METHODS = "prime,perpcs,rag,waits"
WAITS = '''"""The base for everybody; the first worker that makes it says where it is, and waits to be killed."""

import json
import os
import sys
import time
from pathlib import Path

from prime_audit.engine.mixture import BASE
from prime_audit.plugins import Personal, Scene, method

FLAG = Path({flag!r})


@method(source="ours")
def personalise(scene: Scene) -> dict[str, Personal]:
    """Leave every target the base."""
    if not FLAG.exists():
        node = sys.modules["ray"].get_runtime_context().get_node_id()
        draft = FLAG.with_suffix(".draft")
        draft.write_text(json.dumps([os.getpid(), node]))
        draft.rename(FLAG)
        time.sleep(600)
    return {{user.id: Personal(BASE) for user in scene.community.targets}}
'''


class Nodes:
    """A cluster of two nodes beside its head, which carries no work."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        quiet = {"include_dashboard": False}
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **quiet})
        self.nodes = [self.cluster.add_node(num_cpus=1) for _ in range(2)]

    def remove(self, node: str) -> None:
        """Kill a node, by Ray's id."""
        (gone,) = [n for n in self.nodes if n.node_id == node]
        self.nodes.remove(gone)
        self.cluster.remove_node(gone, allow_graceful=False)

    def fill(self) -> None:
        """Have two nodes again."""
        while len(self.nodes) < 2:
            self.nodes.append(self.cluster.add_node(num_cpus=1))


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    made = Nodes()
    yield made
    made.cluster.shutdown()


@pytest.fixture(scope="module")
def flag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flag") / "flag.json"


@pytest.fixture
def words(flag: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Words of the run that every test makes."""
    plugin = flag.parent / "waits.py"
    plugin.write_text(WAITS.format(flag=str(flag)), encoding="utf-8")
    return {"plugins": [plugin], "sets": ["chunk=2"], "cache": tmp_path / "cache"}


def rows(run: Any) -> dict[str, bytes]:
    """Return all files of a run but the record, by name."""
    return {
        p.relative_to(run.path).as_posix(): p.read_bytes()
        for p in run.path.rglob("*")
        if p.is_file() and p.name != "record.json"
    }


def on_cluster(nodes: Nodes) -> dict[str, Any]:
    nodes.fill()
    return {"executor": "ray", "address": nodes.cluster.address}


def when(flag: Path, then: Callable[[int, str], None]) -> threading.Thread:
    """Wait in a thread until a worker waits; then do what is given its process and node."""

    def wait() -> None:
        ends = time.monotonic() + 500  # a busy machine starts a worker slowly
        while not flag.exists() and time.monotonic() < ends:
            time.sleep(0.05)
        pid, node = json.loads(flag.read_text())
        then(pid, node)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.parametrize("dies", ["node", "worker"])
def test_who_dies_in_mid_run_changes_no_byte(
    dies: str,
    nodes: Nodes,
    quick: Callable[..., Any],
    content: Callable[[Any], dict[str, Any]],
    words: dict[str, Any],
    flag: Path,
    tmp_path: Path,
) -> None:
    flag.write_text("[]")
    local = quick(METHODS, **words | {"cache": tmp_path / "other", "out": tmp_path / "local"})
    flag.unlink()

    def kill(pid: int, node: str) -> None:
        if dies == "node":
            nodes.remove(node)
        else:
            os.kill(pid, signal.SIGKILL)

    cluster = on_cluster(nodes)
    thread = when(flag, kill)
    spread = quick(METHODS, **words | cluster)
    thread.join()
    assert content(spread) == content(local)
    assert rows(spread) == rows(local)
    # What the dead one had made is not told; nothing is made twice.
    assert 0 < spread.record.times.made <= local.record.times.made
    assert spread.record.times.read > 0


def test_a_cell_whose_worker_always_dies_is_reported(
    nodes: Nodes,
    quick: Callable[..., Any],
    words: dict[str, Any],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    deadly = tmp_path / "deadly.py"
    deadly.write_text(
        WAITS.format(flag="none").replace("if not FLAG.exists():", "os._exit(9)\n    if 0:"), encoding="utf-8"
    )
    own = {"plugins": [deadly], "sets": ["chunk=0"]}
    capfd.readouterr()
    run = quick("rag,deadly", **words | on_cluster(nodes) | own)
    assert capfd.readouterr().out == ""  # Ray tells of dead workers there
    (failure,) = run.record.failures
    assert (failure.method, failure.chunk, failure.targets) == ("deadly", None, 3)
    assert failure.error.startswith("given up after 3 attempts: node ")
    told = {r.method: r for r in run.record.results if r.metric == "rouge-1"}
    assert told["rag"].value is not None
    assert told["deadly"].value is None


def test_workers_have_the_threads_that_are_asked_for(
    nodes: Nodes, quick: Callable[..., Any], words: dict[str, Any]
) -> None:
    run = quick("np", **words | on_cluster(nodes), threads=2, games="")
    assert run.record.hardware["threads"] == 2


def test_another_version_is_refused(
    nodes: Nodes, quick: Callable[..., Any], words: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = on_ray.identity
    monkeypatch.setattr(on_ray, "identity", lambda plan: ours(plan) | {"torch": "1.0"})
    with pytest.raises(UserError, match=r"^node .*: torch is 2.*, but 1\.0 where compare was started"):
        quick("rag", **words | on_cluster(nodes))


def test_a_cache_of_its_own_is_refused(
    nodes: Nodes, quick: Callable[..., Any], words: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    order_of = on_ray.order_of
    monkeypatch.setattr(
        on_ray, "order_of", lambda *given: order_of(*given[:4], (given[4][0], "another's"), *given[5:])
    )
    with pytest.raises(
        UserError, match=r"^node .* is not the cache of the machine where compare was started"
    ):
        quick("rag", **words | on_cluster(nodes))
    assert not list(words["cache"].glob(".seen-*"))


def test_a_cluster_that_is_not_there(quick: Callable[..., Any], words: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"^Ray 127\.0\.0\.1:1: no connection"):
        quick("rag", **words, executor="ray", address="127.0.0.1:1")
