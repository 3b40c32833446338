"""The boards that are published in this checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from prime_audit.boards.build import boards, drift

HOME = Path(__file__).parents[2] / "leaderboards"


@pytest.mark.skipif(not HOME.is_dir(), reason="not a checkout: no leaderboards here")
def test_every_published_board_is_what_its_records_give() -> None:
    found = boards(HOME)
    assert {"paper", "world", "lamp"} <= {b.name for b in found}
    assert [line for board in found for line in drift(board)] == []


@pytest.mark.skipif(not HOME.is_dir(), reason="not a checkout: no leaderboards here")
def test_a_published_page_is_light_and_the_documents_show_the_boards_figure() -> None:
    pages = [*HOME.glob("*/index.html")]
    assert pages
    assert {page.parent.name: page.stat().st_size for page in pages if page.stat().st_size > 2_000_000} == {}
    shown = HOME.parent / "docs" / "assets" / "frontier.svg"
    assert shown.read_bytes() == (HOME / "world" / "frontier.svg").read_bytes()
