"""A server of commands, and the small run that they are about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from .commands import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests."""
    one = Server(tmp_path_factory.mktemp("logs"))
    yield one
    one.stop()


@pytest.fixture(scope="session")
def asked(
    small_data: Callable[[str], Path], small: Sequence[str], llama_folder: Path
) -> Callable[..., list[str]]:
    """(cache, out) → the words of a small ``compare`` that makes every kind of artefact."""

    def words(cache: Path, out: Path, *more: str, methods: str = "prime,perpcs,oppu") -> list[str]:
        data = str(small_data("LaMP-4"))
        own = [
            "compare",
            "--methods",
            methods,
            "--tasks",
            "LaMP-4",
            "--data",
            data,
            "--model",
            str(llama_folder),
        ]
        sets = [word for pair in small for word in ("--set", pair)]
        return [*own, *sets, "--cache", str(cache), "--out", str(out), *more]

    return words


@pytest.fixture(scope="session")
def whole(
    server: Server, asked: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """Return cache and folder of a run that nothing interrupted."""
    root = tmp_path_factory.mktemp("whole")
    server.run(*asked(root / "cache", root / "run"))
    return root / "cache", root / "run"
