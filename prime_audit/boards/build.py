"""A leaderboard is a pure function of its committed files: ``build`` writes it, ``drift`` only compares."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from prime_audit.boards import findings, outlook
from prime_audit.boards.admission import require_admissible
from prime_audit.boards.config import FILE, Board, read_board
from prime_audit.boards.filed import RECORDS, Filed, read_filed
from prime_audit.boards.gather import sheet_of_board
from prime_audit.errors import UserError
from prime_audit.folder import load_run, read_json, write_atomic
from prime_audit.io.markup import encoded
from prime_audit.record import Intervals, Record
from prime_audit.report import frontier, page, text
from prime_audit.report.from_record import sheet_of
from prime_audit.report.page_data import plain
from prime_audit.report.sheet import Sheet

SOURCES = "sources.json"
"""The generated list of the files that a board was built from, with their hashes."""
INPUTS = (FILE, "cells.json", "claims.json", "convert.py")


def boards(home: Path, names: tuple[str, ...] = ()) -> list[Board]:
    """Read the boards below ``home``: the named ones, or all."""
    found = sorted(p.parent for p in home.glob(f"*/{FILE}"))
    if not found:
        raise UserError(
            f"{home} has no leaderboard (a folder with a {FILE}): run in the checkout, or pass --home"
        )
    known = [p.name for p in found]
    for name in names:
        if name not in known:
            raise UserError(f"no leaderboard {name!r} in {home}: choose one of {', '.join(known)}")
    return [read_board(p) for p in found if not names or p.name in names]


def sheet(board: Board, filed: Sequence[Filed] | None = None) -> Sheet:
    """Gather what a board shows; UserError if its files are broken or not admissible."""
    if board.kind == "reported":
        from prime_audit.boards import reported

        return reported.sheet(board.folder)
    filed = read_filed(board.folder) if filed is None else filed
    require_admissible(board, filed)
    return sheet_of_board(board, filed)


def measured(path: Path) -> tuple[Sheet, dict[str, Record]]:
    """Read a run or a board -> its sheet, and the records behind its figures by id; none of a reported board."""
    if (path / FILE).is_file():
        board = read_board(path)
        filed = read_filed(path) if board.kind == "measured" else []
        return sheet(board, filed), {f.id: f.record for f in filed}
    record = load_run(path).record
    return sheet_of(record, path.name), {path.name: record}


def rendered(board: Board) -> dict[str, str]:
    """Render all generated files of a board in memory -> name: text. Nothing is written."""
    filed = read_filed(board.folder)
    shown = sheet(board, filed)
    files = {
        "table.md": text.markdown(shown),
        "table.csv": text.csv(shown),
        "table.tex": text.tex(shown),
        "table.json": text.as_json(shown),
        "frontier.json": outlook.data(shown),
        "frontier.svg": frontier.draw(shown, Intervals().level, ("svg",))["svg"].decode(),
        "index.html": page.render(shown),
        SOURCES: json.dumps(_hashes(board), indent=1, sort_keys=True) + "\n",
    }
    if (board.folder / "claims.json").is_file():
        from prime_audit.boards import claims

        files |= claims.rendered(board.folder)
    if board.findings:
        files["findings.md"] = findings.markdown(board, filed, shown)
    return files


def build(board: Board) -> list[Path]:
    """Write a board's generated files; return those that changed."""
    changed = []
    for name, content in rendered(board).items():
        path = board.folder / name
        if not path.is_file() or path.read_bytes() != encoded(content):
            write_atomic(path, [content])
            changed.append(path)
    return changed


def is_empty(board: Board) -> bool:
    """Whether a board has no figures yet: a measured one without records."""
    return board.kind == "measured" and not any((board.folder / RECORDS).glob("*/*.json"))


def drift(board: Board) -> Iterator[str]:
    """Compare a board's files with what they should be, in memory; yield a line for each file that differs.

    A board without records needs no generated files; those that are there are compared.
    """
    yield from _changed_sources(board)
    fresh = rendered(board)
    for name, content in fresh.items():
        path = board.folder / name
        if not path.is_file():
            if not is_empty(board):
                yield f"{path} is missing: run prime-audit leaderboard build"
        elif not _same(path.read_bytes(), encoded(content)):
            yield f"{path} differs from what its records give{_where(path.read_bytes(), encoded(content))}: rebuild it"
    known = {*fresh, *INPUTS, RECORDS}
    for path in sorted(board.folder.iterdir()):
        if path.name not in known:
            yield f"{path} belongs to no leaderboard: remove it"


def strays(home: Path) -> Iterator[str]:
    """Name what is below ``home`` and is no board: nothing else checks a folder that lost its board.toml."""
    for path in sorted(home.iterdir()):
        if path.is_dir() and not (path / FILE).is_file():
            yield f"{path / FILE} is missing: restore it, or remove the folder"
        elif path.is_file() and path.name != "README.md":
            yield f"{path} belongs to no leaderboard: remove it"


def _same(old: bytes, new: bytes) -> bool:
    if old == new:
        return True
    try:
        return plain(old.decode()) == plain(new.decode())
    except ValueError:  # a page that is damaged
        return False


def _where(old: bytes, new: bytes) -> str:
    lines = zip(old.splitlines(), new.splitlines(), strict=False)
    first = next((n for n, (a, b) in enumerate(lines, start=1) if a != b), None)
    return f" (line {first})" if first else ""


def _hashes(board: Board) -> dict[str, str]:
    inputs = [board.folder / name for name in INPUTS if (board.folder / name).is_file()]
    return {
        path.relative_to(board.folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (*inputs, *(board.folder / RECORDS).glob("*/*.json"))
    }


def _changed_sources(board: Board) -> Iterator[str]:
    """Name the inputs that differ from those that the committed tables were built from."""
    path = board.folder / SOURCES
    if not path.is_file():
        return
    then: Mapping[str, object] = read_json(path)
    now = _hashes(board)
    for name in sorted({*then, *now}):
        if name not in now:
            yield f"{board.folder / name} is missing: restore it, or rebuild without it"
        elif then.get(name) != now[name]:
            what = "is new" if name not in then else "was changed"
            yield f"{board.folder / name} {what} since the tables were built: restore it, or rebuild"
