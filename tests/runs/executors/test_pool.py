"""Cores are shared out: no node has more threads than cores, and all workers have as many."""

from __future__ import annotations

from typing import Any

import pytest

from prime_audit.runs.executors.pool import RayPool, Seat, threads_each

ray = pytest.importorskip("ray")


def nodes(monkeypatch: pytest.MonkeyPatch, *resources: dict[str, float]) -> None:
    """Let the cluster have nodes with these."""
    made = [
        {
            "NodeID": f"{n}",
            "Alive": True,
            "Resources": own,
            "NodeManagerHostname": "h",
            "NodeManagerAddress": "a",
        }
        for n, own in enumerate(resources)
    ]
    monkeypatch.setattr(ray, "nodes", lambda: made)


def seats(monkeypatch: pytest.MonkeyPatch, kind: str, threads: int, workers: int | None) -> list[Seat]:
    """List the seats of a pool."""
    monkeypatch.setattr(ray, "put", lambda order: order)

    class Order:
        pass

    order: Any = Order()
    order.threads = threads
    pool = RayPool(order, lambda *_: None, lambda _: None, kind=kind, workers=workers)
    return list(pool._seats())[:workers]


@pytest.mark.parametrize(
    ("kind", "workers", "resources", "each", "on_nodes"),
    [
        ("CPU", None, [{"CPU": 8}], 8, [1]),
        ("CPU", 2, [{"CPU": 8}], 4, [2]),
        ("CPU", 3, [{"CPU": 8}, {"CPU": 8}], 4, [2, 1]),
        ("CPU", None, [{"CPU": 8}, {"CPU": 6}], 6, [1, 1]),
        ("CPU", 2, [{"CPU": 1}], 1, [1]),
        ("GPU", None, [{"CPU": 32, "GPU": 4}, {"CPU": 64}], 8, [4]),
        ("GPU", 1, [{"CPU": 32, "GPU": 4}], 32, [1]),
        ("GPU", None, [{"CPU": 2, "GPU": 4}], 1, [4]),
    ],
)
def test_workers_divide_a_nodes_cores(
    kind: str,
    workers: int | None,
    resources: list[dict[str, float]],
    each: int,
    on_nodes: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nodes(monkeypatch, *resources)
    assert threads_each(kind, workers) == each
    found = seats(monkeypatch, kind, each, workers)
    assert [sum(s.node == str(n) for s in found) for n in range(len(on_nodes))] == on_nodes
    for n, own in enumerate(resources):
        assert sum(s.cores for s in found if s.node == str(n)) <= own["CPU"]


def test_more_threads_than_cores_still_find_a_seat(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes(monkeypatch, {"CPU": 2}, {"CPU": 12})
    assert [(s.node, s.cores) for s in seats(monkeypatch, "CPU", 8, 4)] == [("0", 2), ("1", 8)]
