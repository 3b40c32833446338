"""Many personal modules on the same sharers' items, against PEFT scoring one module after another."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from prime_audit.engine.mixture import Mixture, Request

from . import rivals
from .shapes import Room, candidates, save_all, sharers
from .side_by_side import Side, SideBySide


def test_modules(side_by_side: SideBySide, room: Room, tmp_path: Path) -> None:
    """A membership game's work: every target's module scores every sharer's items."""
    many = (10, 20, 1) if room.slow else (20, 40, 3 if room.cuda else 1)
    modules, people, each = many if room.full else (2, 3, 3)
    adapters = sharers(room, "LaMP-2", 5 if room.full else 3)
    engine, names = room.engine(adapters), list(adapters)
    pairs = [(p.prompt, p.gold) for u in room.users("LaMP-2", people, each) for p in u]
    # Every module merges three sharers of its own choice, as targets do.
    chosen = [tuple(np.random.default_rng(i).choice(names, 3, replace=False)) for i in range(modules)]
    weights = candidates(modules, 3)

    def ours() -> list[np.ndarray]:
        mixtures = [Mixture(own, w) for own, w in zip(chosen, weights, strict=True)]
        return engine.score([Request(p, m, gold=g) for m in mixtures for p, g in pairs])

    model = rivals.load_peft(room.plain, save_all(adapters, tmp_path))

    def theirs(count: int) -> list[np.ndarray]:
        return [
            s
            for own, w in zip(chosen[:count], weights[:count], strict=True)
            for s in rivals.peft_module(model, room.tokenizer, own, w, pairs, 16)
        ]

    try:
        title = f"scoring {modules} modules on {people} sharers, {each} items each"
        found, plain = side_by_side(
            title,
            Side("ours", ours, modules),
            Side("PEFT one by one", lambda: theirs(modules), modules, lambda: theirs(2)),
            unit="module",
        )
    finally:
        model.unload()
    assert len(found) == modules * len(pairs)
    if room.exact:
        for one, other in zip(found, plain, strict=True):
            np.testing.assert_allclose(one, other, atol=2e-4)
