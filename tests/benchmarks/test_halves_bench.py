"""bfloat16 against float32: what ``--dtype`` gains on this machine; on a CPU only one that multiplies it natively."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from prime_audit.community.sharers import bank_name
from prime_audit.engine.mixture import Mixture, Request
from prime_audit.engine.native import multiplies_natively

from . import hunt
from .conftest import option
from .shapes import Room, build, candidates, sharers
from .side_by_side import Side, SideBySide
from .test_ceilings_bench import stage


@pytest.fixture(scope="session")
def _rooms() -> dict[tuple[str, bool], Room]:
    return {}


@pytest.fixture
def pair(room: Room, pytestconfig: pytest.Config, _rooms: dict[tuple[str, bool], Room]) -> dict[str, Room]:
    """Return the same model in both formats: this session's first."""
    own, other = ("float32", "bfloat16") if room.exact else ("bfloat16", "float32")
    if (other, room.full) not in _rooms:
        device = option(pytestconfig, "device", "cpu")
        _rooms[other, room.full] = build(room.shape, device, room.full, other)
    return {own: room, other: _rooms[other, room.full]}


@pytest.mark.parametrize("name", ["search", "training", "scoring"])
def test_formats(pair: dict[str, Room], name: str, side_by_side: SideBySide) -> None:
    """The same work in both formats, with the same adapters."""
    made = sharers(pair["float32"], hunt.TASK, hunt.SHARERS)
    runs = {}
    for kind, room in pair.items():
        hunt.endless(room)
        engine = room.engine({bank_name(owner): adapter for owner, adapter in made.items()})
        runs[kind] = stage(name, room, engine)
    native = multiplies_natively(torch.bfloat16)
    side_by_side(
        f"{name}, bfloat16 multiplied {'natively' if native else 'by emulation'} on the CPU",
        *(Side(kind, run) for kind, run in runs.items()),
        unit="run",
    )


def test_same_scores(pair: dict[str, Room], benchmark: Any) -> None:
    """Log-probabilities in bfloat16 are those of float32, rounded."""
    made = sharers(pair["float32"], hunt.TASK, hunt.SHARERS)
    texts = [p for own in pair["float32"].users("LaMP-2", 3, 2) for p in own]
    found = {}
    for kind, room in pair.items():
        engine = room.engine(made)
        mixtures = [Mixture(tuple(made)[:3], w) for w in candidates(len(texts), 3)]
        asked = [Request(p.prompt, m, gold=p.gold) for p, m in zip(texts, mixtures, strict=True)]
        found[kind] = np.concatenate(engine.score(asked))
    benchmark.pedantic(lambda: None, rounds=1)
    half, single = found["bfloat16"], found["float32"]
    # 8 bits of precision: a few hundredths of a nat on average.
    assert np.abs(half - single).mean() < 0.1
    assert np.corrcoef(half, single)[0, 1] > 0.99
