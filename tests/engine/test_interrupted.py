"""What is interrupted goes on where it was kept: to the same numbers, no pass done twice, and nothing left behind."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from prime_audit.cache.entry import Entry
from prime_audit.community import store as kept
from prime_audit.community.store import Store
from prime_audit.engine.assemble import Unit, assemble
from prime_audit.engine.gradients import Item, gradients
from prime_audit.engine.mixture import Continuation, Mixture, Probe, Request, Spent, alone
from prime_audit.engine.passes import Worker
from prime_audit.engine.privacy import Privacy
from prime_audit.engine.recipe import Job, LoraShape, Recipe, count_steps
from prime_audit.engine.train import train_adapters, train_gates

KEY = "ab" * 32
RECIPE = Recipe(batch=2, lr=5e-3, epochs=3, clip=0.05)
SHAPE = LoraShape(rank=4, alpha=8.0, dropout=0.1)


class Interrupting(Worker):
    """Does so many passes, then is interrupted within the next one."""

    def __init__(self, most: float = math.inf) -> None:
        self.most, self.done = most, 0

    def do(self, one: Any) -> Any:
        if self.done >= self.most:
            raise KeyboardInterrupt
        self.done += 1
        return super().do(one)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the state whenever it may be kept."""
    monkeypatch.setattr(kept, "PAUSE", 0.0)
    monkeypatch.setattr(kept, "_WORTH", 0.0)


@contextmanager
def working(b: Any, most: float = math.inf) -> Iterator[Interrupting]:
    worker = b.engine.base.worker = Interrupting(most)
    try:
        yield worker
    finally:
        b.engine.base.worker = Worker()


def left(folder: Path) -> list[str]:
    """List every file of a cache, with the kind of its entry."""
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


Trained = Callable[[Store, Callable[[int], None]], tuple[Any, ...]]


def jobs_of(pairs: Any) -> list[Job]:
    rows = {"ann": pairs * 2, "bob": pairs[:1], "cem": pairs[1:]}
    return [Job(name, tuple(own), tuple(f"i{n}" for n in range(len(own)))) for name, own in rows.items()]


def adapters(b: Any, pairs: Any, lost: list[Any], **more: Any) -> Trained:
    def train(store: Store, tick: Callable[[int], None]) -> tuple[Any, ...]:
        lost.clear()
        jobs = jobs_of(pairs)
        found = store.adapters(
            KEY,
            [j.owner for j in jobs],
            lambda: train_adapters(
                b.engine.base,
                jobs,
                SHAPE,
                RECIPE,
                seed=1,
                tokens=150,
                tick=tick,
                lost=lost,
                so_far=store.partial(KEY),
                **more,
            ),
            lost=lost,
        )
        return {n: (*a.A, *a.B) for n, a in found.items()}, [str(one) for one in lost]

    return train


def gates(b: Any, pairs: Any) -> Trained:
    def train(store: Store, tick: Callable[[int], None]) -> tuple[Any, ...]:
        jobs = jobs_of(pairs)
        found = store.gates(
            KEY,
            [j.owner for j in jobs],
            lambda: train_gates(
                b.engine.base,
                b.engine.bank,
                jobs,
                RECIPE,
                seed=1,
                tokens=150,
                tick=tick,
                so_far=store.partial(KEY),
            ),
        )
        return found, []

    return train


def same(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    assert one[0].keys() == other[0].keys()
    assert one[1:] == other[1:]
    for name, own in one[0].items():
        for x, y in zip(own, other[0][name], strict=True):
            np.testing.assert_array_equal(x.numpy(), y.numpy())


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("kind", ["plain", "groups", "private", "diverging", "gates"])
def test_a_training_that_was_interrupted_gives_the_same_bits(
    bench: Any, pairs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    b, lost = bench(), list[Any]()
    train = {
        "plain": lambda: adapters(b, pairs, lost),
        "groups": lambda: adapters(b, pairs, lost),
        "private": lambda: adapters(b, pairs, lost, privacy=Privacy(8.0)),
        "diverging": lambda: adapters(b, pairs, lost),
        "gates": lambda: gates(b, pairs),
    }[kind]()
    if kind == "groups":  # one owner after the other
        monkeypatch.setattr("prime_audit.engine.train.free_bytes", lambda _: 4)
    if kind == "diverging":
        spoil(monkeypatch)
    base = b.engine.base
    with working(b) as plain:
        whole = train(Store(tmp_path / "whole", base.spent), lambda _: None)
    spent = base.spent.requests, base.spent.prompt_tokens
    assert plain.done > 20
    assert (kind == "diverging") == bool(whole[1])
    for most in (1, 2, 5, plain.done // 2, plain.done - 1):
        cache, ticks = tmp_path / str(most), list[int]()
        base.spent.requests = base.spent.prompt_tokens = 0
        if kind == "diverging":
            spoil(monkeypatch)
        with working(b, most) as first, pytest.raises(KeyboardInterrupt):
            train(Store(cache, base.spent), lambda _: None)
        assert first.done == most
        base.spent.requests = base.spent.prompt_tokens = 0
        with working(b) as second:
            same(train(Store(cache, base.spent), ticks.append), whole)
        # What was interrupted is the only pass that is begun again; an optimizer step is kept with what follows it.
        assert plain.done <= first.done + second.done <= plain.done + 1
        assert (base.spent.requests, base.spent.prompt_tokens) == spent
        if kind != "diverging":
            assert sum(ticks) == count_steps(jobs_of(pairs), RECIPE)
        assert left(cache) == left(tmp_path / "whole")  # no partial stays


def spoil(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the loss of the second owner be nan from the third step on; the others' gradients stay as they are."""
    from prime_audit.engine import train as room

    plain = room._Loop._pass

    def spoiled(loop: Any, stack: Any, group: Any, step: int, rows: Any, weights: Any, watch: Any) -> None:
        plain(loop, stack, group, step, rows, weights, watch)
        if step >= 2:
            for row, each in zip(rows, range(len(rows)), strict=True):
                if group[row.owner].owner == "bob":
                    watch._losses[-1][each] = float("nan")

    if plain.__name__ != "spoiled":
        monkeypatch.setattr(room._Loop, "_pass", spoiled)


@pytest.mark.usefixtures("always")
def test_every_call_of_the_engine_goes_on_behind_the_rows_that_were_kept(
    bench: Any, pairs: Any, tmp_path: Path
) -> None:
    b = bench()
    engine, names = b.engine, ("ann", "bob", "cem", "dot")
    engine.batch_tokens = engine.read_tokens = 60
    mixtures = [alone(n) for n in names] + [Mixture(("ann", "bob"), np.array([0.5, 0.5]))]
    requests = [Request(p, m, g) for p, g in pairs for m in mixtures]
    probes = [Probe(r.prompt, r.mixture, (Continuation(r.gold),)) for r in requests]
    items = [Item(p, g, n) for p, g in pairs for n in names]
    units = [Unit(f"t{i}", names, (pair,)) for i, pair in enumerate(pairs)]
    gate = {n: tuple(torch.randn(s.d_in) for s in engine.base.sites) for n in names}
    calls: dict[str, Callable[[], Any]] = {
        "generate": lambda: engine.generate(requests, 6),
        "observe": lambda: [o.logprobs[0].tolist() for o in engine.observe(probes, moments=True)],
        "assemble": lambda: [w.tolist() for w in assemble(engine, units, gate, 2)],
        "gradients": lambda: gradients(engine, items, "grad_norm", 0).tolist(),
    }
    spent = engine.base.spent
    for name, call in calls.items():
        engine.keeper = Store(tmp_path / name / "whole", spent)
        spent.__init__()
        with working(b) as plain:
            whole = call()
        account = str(spent)
        assert plain.done > 2, name
        for most in range(1, plain.done):
            cache = tmp_path / name / str(most)
            engine.keeper = Store(cache, spent)
            with working(b, most), pytest.raises(KeyboardInterrupt):
                call()
            spent.__init__()
            engine.keeper = Store(cache, spent)
            with working(b) as second:
                assert call() == whole, name
            assert second.done == plain.done - most, name
            assert str(spent) == account, name
            assert left(cache) == left(tmp_path / name / "whole"), name


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("which", ["cut", "foreign"])
def test_what_was_kept_and_is_not_sound_is_reported_and_left_alone(
    bench: Any, pairs: Any, tmp_path: Path, which: str
) -> None:
    b, lost = bench(), list[Any]()
    train = adapters(b, pairs, lost)
    whole = train(Store(tmp_path / "whole", b.engine.base.spent), lambda _: None)
    cache, said = tmp_path / "cache", list[str]()
    with working(b, 9), suppress(KeyboardInterrupt):
        train(Store(cache, b.engine.base.spent), lambda _: None)
    (file,) = cache.glob("*/*/arrays.safetensors")
    if which == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    else:  # whole, but of another training
        entry = Entry(cache, file.parent.name)
        entry.remove()
        entry.write(
            "partial",
            {},
            lambda folder: (
                kept._dump_arrays({"group": np.zeros(3, dtype=np.uint8)}, folder),
                kept._dump(folder / "cost.json", {"spent": {}, "cut": []}),
            ),
        )
    store = Store(cache, b.engine.base.spent)
    store.tally.say = said.append
    with working(b) as worker:
        same(train(store, lambda _: None), whole)
    assert len(store.tally.damaged) == 1
    assert "partial" in said[0]
    assert "damaged" in said[0]
    assert worker.done > 20  # all of it


def test_short_work_keeps_nothing_on_the_way(bench: Any, pairs: Any, tmp_path: Path) -> None:
    b = bench()
    with working(b, 9), suppress(KeyboardInterrupt):
        adapters(b, pairs, [])(Store(tmp_path, b.engine.base.spent), lambda _: None)
    assert left(tmp_path) == []


@pytest.mark.usefixtures("always")
def test_without_a_cache_nothing_is_kept(bench: Any, pairs: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    b = bench()
    with working(b, 9), suppress(KeyboardInterrupt):
        adapters(b, pairs, [])(Store(None, b.engine.base.spent), lambda _: None)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Give the store a clock that only the test moves: ``now``, in seconds."""
    found = SimpleNamespace(now=0.0)
    found.monotonic = lambda: found.now
    monkeypatch.setattr(kept, "time", found)
    return found


@pytest.mark.parametrize(("slow", "when"), [(0.5, [30, 60, 90, 120, 150, 180]), (4.0, [30, 114, 198])])
def test_states_are_kept_at_most_a_twentieth_of_the_time(
    tmp_path: Path, clock: SimpleNamespace, slow: float, when: list[float]
) -> None:
    store, states = Store(tmp_path, Spent()), list[float]()

    def state() -> dict[str, Any]:
        states.append(round(clock.now))
        clock.now += slow
        return {"a": np.zeros(1)}

    def work() -> dict[str, Any]:
        while clock.now < 200:
            store.partial(KEY).write(state)
            clock.now += 0.25
        return {"a": np.ones(1)}

    store.arrays(KEY, work)
    assert states == pytest.approx(when, abs=3)


def test_a_full_disk_is_said_once_and_tried_again(
    tmp_path: Path, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, said = Store(tmp_path, Spent()), list[str]()
    store.tally.say = said.append
    full = False

    def state() -> dict[str, Any]:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return {"now": np.array([clock.now])}

    def work() -> dict[str, Any]:
        nonlocal full
        for minute in range(1, 6):
            clock.now, full = 60.0 * minute, minute in (2, 3)
            store.partial(KEY).write(state)
            if minute == 3:
                assert len(said) == 1
                assert newest() == 60
        raise KeyboardInterrupt

    def newest() -> float:
        found = list[float]()
        other = Store(tmp_path, Spent())
        other.tally.say = lambda _: None
        kept._Partial(other, Entry(tmp_path, KEY), "arrays").read(lambda s: found.append(float(s["now"][0])))
        return found[0]

    with pytest.raises(KeyboardInterrupt):
        store.arrays(KEY, work)
    assert newest() == 300
    (line,) = said
    assert "free some space" in line
    assert line.endswith("until it succeeds, an interruption costs the work since the last kept state")
