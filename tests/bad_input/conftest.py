"""A good data set to spoil, and a run of seconds to spoil it for."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from .helpers import Say


@pytest.fixture
def folder(small_data: Callable[[str], Path], tmp_path: Path) -> Path:
    """Copy a good LaMP-2 data set, ready to be spoilt."""
    copy = tmp_path / "in" / "movie_tagging"
    shutil.copytree(small_data("LaMP-2"), copy)
    return copy


@pytest.fixture
def attempt(say: Say, small: Sequence[str], llama_folder: Path, tmp_path: Path) -> Say:
    """Run ``compare`` on a tiny model; later words win."""

    def go(*words: object, methods: str = "rag", model: object = llama_folder) -> Any:
        sets = [word for pair in small for word in ("--set", pair)]
        return say(
            *("compare", "--methods", methods, "--model", model, *sets, "--no-cache"),
            *("--out", tmp_path / "runs" / "out", *words),
        )

    return go
