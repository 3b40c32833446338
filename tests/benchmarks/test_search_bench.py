"""One population of a target's search, against one candidate after another by two other ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prime_audit.engine.mixture import Mixture, Request

from . import rivals
from .shapes import WORDY, Room, population, same, save_all, sharers
from .side_by_side import Side, SideBySide

MOST = 100
"""New tokens at most: the protocol's own."""


class Search:
    """One target's history and one population of candidates."""

    def __init__(self, room: Room, task: str, folder: Path) -> None:
        k = 3
        self.room, self.most = room, MOST if room.full else 12
        self.adapters = sharers(room, task, k)
        self.engine = room.engine(self.adapters)
        self.weights = population(k)[: None if room.full else 2]
        each = (96 if room.cuda else 24 if room.slow else 48) if room.full else 9
        self.prompts = [p.prompt for u in room.users(task, 3, each, "targets") for p in u][:each]
        self.stops = room.stops(task)
        room.base.stops = tuple(self.stops)
        self.folders = save_all(self.adapters, folder)

    def ours(self, rule: str) -> list[list[str]]:
        """Answer all candidates at once: texts, [candidate][prompt]."""
        mixtures = [Mixture(tuple(self.adapters), w, rule) for w in self.weights]
        asked = [Request(p, m) for m in mixtures for p in self.prompts]
        found = self.engine.generate(asked, self.most)
        return [found[i : i + len(self.prompts)] for i in range(0, len(found), len(self.prompts))]


@pytest.fixture(params=WORDY)
def search(room: Room, tmp_path: Path, request: pytest.FixtureRequest) -> Search:
    return Search(room, request.param, tmp_path)


def agree(search: Search, board: list[str], ours: list[list[str]], theirs: list[str]) -> None:
    """Compare the last candidate's answers: equal in fp32; in bf16 results depend on the batch."""
    share = same(ours[-1][: len(theirs)], theirs)
    assert share == 1 or not search.room.exact, f"only {share:.0%} of the answers are the same"
    assert len(set(theirs)) > 1
    if search.room.big:  # spelled ids; what random weights write must end, and tell candidates apart
        lengths = [len(answer.split()) for own in ours for answer in own]
        assert min(lengths) < search.most
        assert len(set(map(tuple, ours))) == len(ours)
        board.append(f"    answers of {np.mean(lengths):.1f} tokens, {max(lengths)} at most")


def test_released_schedule(search: Search, side_by_side: SideBySide, request: pytest.FixtureRequest) -> None:
    """Both sum the factors, as the released code does; answers are cut at their end before they are compared.

    Timed on the first batches of 8 and scaled to the history: its batches are independent of each other. That counts
    the copying of the adapters more than once.
    """
    room, last = search.room, search.weights[-1]
    first = search.prompts[: 24 if room.cuda else 16]
    folders = search.folders | {"mix": next(iter(search.folders.values()))}
    model = rivals.load_peft(room.plain, folders)
    model.set_adapter("mix")
    stored = list(search.adapters.values())

    def released(prompts: list[str]) -> list[str]:
        return rivals.released_candidate(
            model, room.tokenizer, stored, last, prompts, search.stops, search.most
        )

    try:
        ours, theirs = side_by_side(
            f"search {request.node.callspec.id}, {len(search.weights)} candidates of {len(search.prompts)} prompts",
            Side("ours (factor)", lambda: search.ours("factor"), len(search.weights)),
            Side(
                "released schedule",
                lambda: released(first),
                len(first) / len(search.prompts),
                warm=lambda: released(first[:8]),
            ),
            unit="candidate",
        )
    finally:
        model.unload()
    agree(search, side_by_side.board, ours, theirs)


def test_peft_generate(search: Search, side_by_side: SideBySide, request: pytest.FixtureRequest) -> None:
    """Both sum the updates (Eq. 2); PEFT's one batch holds what the device bears: 32 prompts, or all."""
    room, last = search.room, search.weights[-1]
    model = rivals.load_peft(room.plain, search.folders)
    many = len(search.prompts) if room.cuda else 32

    def candidate() -> list[str]:
        return rivals.peft_candidate(
            model,
            room.tokenizer,
            list(search.adapters),
            last,
            search.prompts,
            search.stops,
            search.most,
            many,
        )

    try:
        ours, theirs = side_by_side(
            f"search {request.node.callspec.id}, {len(search.weights)} candidates of {len(search.prompts)} prompts",
            Side("ours (delta)", lambda: search.ours("delta"), len(search.weights)),
            Side("PEFT cat + generate", candidate),
            unit="candidate",
        )
    finally:
        model.unload()
    agree(search, side_by_side.board, ours, theirs)
