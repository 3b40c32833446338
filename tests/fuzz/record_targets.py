"""Readers of what a run leaves and a board holds: records, signals, filed records, cells, claims."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from prime_audit.boards.add import add, differences
from prime_audit.boards.build import rendered
from prime_audit.boards.cells import read_cells
from prime_audit.boards.claims import read_claims
from prime_audit.boards.config import FILE, read_board
from prime_audit.folder import PREDICTIONS, RECORD, Run, load_run
from prime_audit.games.exam.stored import FOLDER, _digest, read_exam, write_exam
from prime_audit.io.markup import encoded, visible
from prime_audit.io.terminal import _Harmless
from prime_audit.report import frontier, page, text
from prime_audit.report.from_record import sheet_of
from tests.boards.invented import BOARD, board_at, run_at, run_record
from tests.games.test_stored import exam

from .attempt import Target
from .mutate import PART

_PAPER = Path(__file__).parents[2] / "leaderboards" / "paper"
_FIELDS = tuple(
    f'"{n}"'.encode() for n in ("results", "value", "ci", "reason", "method", "task", "spec", "settings")
)


def shown(run: Run) -> None:
    """Show a record in every way but drawn: what is printed steers no terminal."""
    stream = io.StringIO()
    sheet = sheet_of(run.record, "run")
    Console(file=stream, width=100).print(
        _Harmless(text.terminal(sheet, 100, details=True, explain=True)), markup=False
    )
    assert stream.getvalue() == visible(stream.getvalue())
    encoded(page.render(sheet))
    text.markdown(sheet)
    text.csv(sheet)
    text.tex(sheet)
    text.as_json(sheet)
    list(differences(sheet, sheet))
    json.dumps(run.record.to_json(), allow_nan=False)


def _record(data: bytes, folder: Path) -> None:
    (folder / RECORD).write_bytes(data)
    shown(load_run(folder))


def _added(data: bytes, folder: Path) -> None:
    (folder / RECORD).write_bytes(data)
    toy = read_board(board_at(folder / "boards"))
    add(folder, toy)
    for content in rendered_but_drawings(toy).values():
        encoded(content)


def rendered_but_drawings(toy: Any) -> dict[str, str]:
    """Make all of a board's files, its picture apart, which takes matplotlib seconds."""
    before, frontier.draw = frontier.draw, lambda *_: {"svg": b""}  # type: ignore[assignment]
    try:
        return rendered(toy)
    finally:
        frontier.draw = before


def _rows(data: bytes, folder: Path) -> None:
    first, _, second = data.partition(PART)
    (folder / PREDICTIONS).write_bytes(first)
    (folder / "models.jsonl").write_bytes(second)
    run = Run(folder, run_record(tasks=["LaMP-2"], methods=["np"]))
    list(run.predictions())
    rows = list(run.models())
    assert len(run.frame("models")) >= len(rows)


def _pool(data: bytes, folder: Path) -> None:
    """Read a pool that somebody changed and signed again: its hash is right."""
    write_exam(folder, exam())
    path = folder / FOLDER / "LaMP-2.pool.json"
    try:
        content = json.loads(data)
        content.pop("sha256", None)
        data = json.dumps({**content, "sha256": _digest(content)}).encode()
    except (ValueError, AttributeError, TypeError, RecursionError):  # not a pool at all: left unsigned
        pass
    path.write_bytes(data)
    found = read_exam(folder, "LaMP-2")
    found.lacking(["mu"], ["modules"])


def _numbers(data: bytes, folder: Path) -> None:
    """Read a file of numbers that somebody changed, with its hash in the pool changed too."""
    write_exam(folder, exam())
    path = folder / FOLDER / "LaMP-2.pool.json"
    content = json.loads(path.read_bytes())
    sha256 = hashlib.sha256(data).hexdigest()
    part = content["passes"][0]["parts"][0]
    part |= {"sha256": sha256, "file": f"LaMP-2.{sha256[:16]}.safetensors"}
    content.pop("sha256")
    path.write_text(json.dumps({**content, "sha256": _digest(content)}))
    (folder / FOLDER / part["file"]).write_bytes(data)
    read_exam(folder, "LaMP-2")


def _signals(folder: Path) -> tuple[bytes, bytes]:
    write_exam(folder, exam())
    path = folder / FOLDER / "LaMP-2.pool.json"
    part = json.loads(path.read_bytes())["passes"][0]["parts"][0]
    return path.read_bytes(), (folder / FOLDER / part["file"]).read_bytes()


def _toml(data: bytes, folder: Path) -> None:
    toy = board_at(folder)
    (toy / FILE).write_bytes(data)
    rendered_but_drawings(read_board(toy))


def _cells(data: bytes, folder: Path) -> None:
    (folder / "cells.json").write_bytes(data)
    read_cells(folder / "cells.json")


def _claims(data: bytes, folder: Path) -> None:
    (folder / "claims.json").write_bytes(data)
    read_claims(folder / "claims.json")


def _few(name: str, key: str) -> bytes:
    """Return a published file with its first entries alone."""
    content = json.loads((_PAPER / name).read_bytes())
    return json.dumps({**content, key: content[key][:6]}).encode()


def targets(folder: Path) -> list[Target]:
    """Return them all; ``folder`` is for making their seeds."""
    whole = run_record(methods=["np", "prime"], tasks=["LaMP-2"])
    one = replace(whole, warnings=("a warning",), versions={}, costs=())
    record = json.dumps(run_record(tasks=["LaMP-2", "LaMP-3"]).to_json()).encode()
    small = (run_at(folder / "run", one) / RECORD).read_bytes()
    model = {"task": "LaMP-2", "method": "m", "target": "t", "adapters": [], "weights": [], "rule": "delta"}
    rows = [json.dumps({"task": "LaMP-2", "id": "1"}), json.dumps({**model, "sharers": []})]
    pool, numbers = _signals(folder)
    found = [
        Target("record", (small,), _record, _FIELDS),
        Target("leaderboard add", (record,), _added, _FIELDS),
        Target("run rows", (PART.join(f"{row}\n{row}\n".encode() for row in rows),), _rows),
        Target("signals pool", (pool,), _pool, (b'"passes"', b'"models"', b'"parts"')),
        Target("signals numbers", (numbers,), _numbers, (b'"F64"', b'"BF16"', b'"shape"', b"data_offsets")),
        Target(
            "board.toml", (BOARD.encode(),), _toml, (b"[[", b'"""', b"=", b"seeds", b"1979-05-27", b"inf")
        ),
    ]
    if _PAPER.is_dir():  # not beside an installed copy
        found += [
            Target("cells.json", (_few("cells.json", "cells"),), _cells),
            Target("claims.json", ((_PAPER / "claims.json").read_bytes(),), _claims),
        ]
    return found
