"""What all attacks together cost in signals, beside the loss attack alone.

``pytest --benchmark-enable tests/benchmarks/test_signals_bench.py``. Not counted: ``samia``, which generates, attacks
that read a shared adapter's gradients, and the training of shadow adapters. RMIA's population is queried once a model,
however many items there are, so the attacks that need it are timed with a population and counted without.
"""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from prime_audit.audit.pool import Pool
from prime_audit.audit.signals import WHITE_BOX
from prime_audit.engine.mixture import Mixture
from prime_audit.games.exam.queries import PREFIX, Reader
from prime_audit.plugins.loading import available, load_attack
from prime_audit.settings import load_settings

from .shapes import Room, sharers
from .side_by_side import Side, SideBySide

APART = ("continuations", *WHITE_BOX)
"""Signals that are no part of the one pass."""
PROMPT = 150
"""Tokens."""
MOST = 1.5
"""How many times the loss attack's tokens all attacks together may read, of prompts this long."""
POPULATION = load_settings("laptop", []).get("population")
"""The laptop's. Such a run asks a model about 285 items."""


def everything() -> list[Any]:
    found = [load_attack(n) for n, a in available("attack").items() if a.module.startswith("prime_attacks.")]
    return [attack for attack in found if not {*attack.needs} & {*APART}]


@pytest.mark.parametrize("task", ["LaMP-2", "LaMP-4"])
def test_all_attacks(side_by_side: SideBySide, room: Room, task: str) -> None:
    """One target's model over a pool of sharers' items: the prompts are the task's, filled up to PROMPT tokens."""
    people, each, known = (8, 36, POPULATION) if room.full else (2, 3, 1)
    if room.full and room.slow:
        each, known = each // 6, known // 6
    adapters = sharers(room, task, 3)
    engine, mixture = room.engine(adapters), Mixture(tuple(adapters), np.ones(3) / 3)
    pairs = [p for user in room.users(task, people, each) for p in user]
    codec = room.base.codec

    def filled(prompt: str, number: int) -> str:
        words = " ".join(p.prompt for p in pairs[number:] + pairs[:number]).split()
        while len(codec.prompt(prompt, 1).ids) < PROMPT:
            prompt = f"{words.pop()} {prompt}"
        return prompt

    texts = [str(i) for i in range(len(pairs))]
    marks = np.ones(len(pairs), dtype=np.bool_)
    pool = Pool(
        owners=texts,
        ids=texts,
        prompts=[filled(p.prompt, i) for i, p in enumerate(pairs)],
        golds=[p.gold for p in pairs],
        trained=marks,
        last=marks,
        drawn=marks,
        twins=[()] * len(pairs),
        population=[(filled(p.prompt, 0), p.gold) for p in pairs[: known + PREFIX]],
    )
    community: Any = SimpleNamespace(
        engine=engine, seed=0, stage=lambda *_: nullcontext(lambda _: None), number=lambda _: 0
    )

    def ask(attacks: list[Any]) -> Any:
        reader = Reader(community, pool, attacks)
        return reader.observe("signals", [reader.probes(mixture)])[0]

    def tokens(attacks: list[Any]) -> int:
        before = room.base.spent.prompt_tokens
        ask(attacks)
        return room.base.spent.prompt_tokens - before

    loss, every = [load_attack("loss")], everything()
    assert tokens(every) <= MOST * tokens(loss)
    own = [attack for attack in every if "population_logprobs" not in attack.needs]
    found, plain, _ = side_by_side(
        f"{task}: signals of {len(pairs)} items",
        Side("all attacks without a population", lambda: ask(own), len(pairs)),
        Side("loss alone", lambda: ask(loss), len(pairs)),
        Side(f"all attacks, population {len(pool.population) - PREFIX}", lambda: ask(every), len(pairs)),
        unit="item",
    )
    assert found.top is not None
    np.testing.assert_allclose(np.concatenate(found.logprobs), np.concatenate(plain.logprobs), atol=1e-3)
