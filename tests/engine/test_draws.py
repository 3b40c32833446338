"""Dropout by visit: the right share, the owner's own, the same however rows are cut into passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prime_audit.engine.draws import Draws, Visit

CPU = torch.device("cpu")


def visit(key=1, step=0, example=0, length=40, gold=3):
    return Visit(key, step, example, length, gold)


def dropped(visits, rate=0.05, width=64, asks=1):
    draws = Draws(visits, rate, CPU)
    long = max(v.length for v in visits)
    return [draws.dropped(torch.ones(len(visits), long, width)) for _ in range(asks)]


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.9])
def test_the_share_that_is_left_out(rate):
    (out,) = dropped([visit(example=n) for n in range(50)], rate)
    n = out.numel()
    assert abs(out.float().mean().item() - rate) < 4 * np.sqrt(rate * (1 - rate) / n) + 1 / 131072
    assert Draws([visit()], rate, CPU).kept == pytest.approx(1 - rate, abs=1 / 131072)


def test_a_row_draws_the_same_alone_and_beside_longer_rows():
    rows = [visit(length=40), visit(key=2, length=25), visit(step=1, length=33)]
    together = dropped(rows, asks=3)
    for i, row in enumerate(rows):
        for ask, alone in enumerate(dropped([row], asks=3)):
            assert torch.equal(together[ask][i, : row.length], alone[0])
            assert not together[ask][i, row.length :].any()  # padding is never drawn for
    assert not torch.equal(together[0], together[1])  # each site has its own


def test_owners_steps_and_examples_draw_apart():
    base = dropped([visit()], 0.5)[0].flatten().float()
    for other in (visit(key=2), visit(step=1), visit(example=1), visit(key=2**64 - 1)):
        both = torch.stack([base, dropped([other], 0.5)[0].flatten().float()])
        assert abs(torch.corrcoef(both)[0, 1]) < 4 / np.sqrt(base.numel())


def test_where_only_gold_positions_are_computed_only_they_are_drawn_for():
    draws = Draws([visit(gold=3), visit(key=2, gold=5)], 0.5, CPU)
    out = draws.dropped(torch.ones(2, 5, 64))
    assert out[0, :3].any()
    assert not out[0, 3:].any()
    assert out[1, 4].any()
