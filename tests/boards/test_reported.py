"""The paper's cells: complete, as printed, and shown without losing or inventing one."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prime_audit.boards.cells import Reported, read_cells
from prime_audit.boards.reported import disagreements, sheet
from prime_audit.errors import UserError

from .invented import refusal

PAPER = Path(__file__).parents[2] / "leaderboards" / "paper"
# Rows and columns as the paper's tables have them.
SHAPES = {
    "1": (12, 13),
    "2": (6, 9),
    "4": (4, 6),
    "5a": (4, 6),
    "5b": (4, 6),
    "6a": (6, 6),
    "6b": (6, 6),
    "9": (4, 3),
    "10": (4, 4),
}


@pytest.fixture(scope="module")
def paper() -> Reported:
    return read_cells(PAPER / "cells.json")


def test_every_row_of_every_table_has_all_its_columns(paper: Reported) -> None:
    for table, (rows, columns) in SHAPES.items():
        own = [c for c in paper.cells if c.table == table]
        per_row = Counter(c.row for c in own)
        assert len(per_row) == rows
        assert set(per_row.values()) == {columns}, table
        assert len({c.column for c in own}) == columns
    assert len(paper.cells) == sum(r * c for r, c in SHAPES.values())
    assert set(paper.tables) == set(SHAPES)


@pytest.mark.parametrize(
    ("source", "value", "method"),
    [
        ("Table 1, LaMP-1 Acc, NP k=0", 0.608, "np"),
        ("Table 1, LaMP-2 Acc, PriME +RAG", 0.537, "prime+rag"),
        ("Table 1, LaMP-3 RMSE, RAG k=1", 0.528, "rag"),
        ("Table 1, LaMP-4 R-L, PriME +RAG", 0.189, "prime+rag"),
        ("Table 1, LaMP-5 R-L, Per-Pcs +PAG", 0.460, "perpcs+pag"),
        ("Table 1, LaMP-7 R-L, PAG k=1", 0.516, "pag:k=1"),
        ("Table 1, LaMP-7 R-L, OPPU +PAG", 0.519, "oppu+pag"),
        ("Table 2, Per-Pcs, LaMP-2 AUC", 0.523, "perpcs"),
        ("Table 2, α=2.0, LaMP-7 AUC", 0.498, "prime:alpha=2"),
        ("Table 4, n = 5, LaMP-7 R-L", 0.465, "prime:k=5"),
        ("Table 5a, LaMP-4 R-L, PriME +PAG", 0.198, "prime+pag"),
        ("Table 5b, LaMP-4 R-L, PriME +RAG", 0.180, "prime+rag"),
        ("Table 6a, α=0.6, LaMP-4 AUC", 0.421, "prime:alpha=0.6"),
        ("Table 6b, α=0.2, LaMP-4 AUC", 0.433, "prime:alpha=0.2"),
        ("Table 6b, α=1.0, LaMP-2 F1", 0.349, "prime:alpha=1"),
        ("Table 6b, α=2.0, LaMP-4 R-L", 0.151, "prime:alpha=2"),
        ("Table 9, LaMP-2 F1, PAG k=1", 0.379, "pag:k=1"),
        ("Table 10, LaMP-2 Acc, GPT k=0", 0.419, "pag"),
    ],
)
def test_cells_read_by_hand(paper: Reported, source: str, value: float, method: str) -> None:
    (cell,) = (c for c in paper.cells if c.source == source)
    assert (cell.value, cell.method) == (value, method)


def test_labels_carry_the_parameters_that_the_lines_name(paper: Reported) -> None:
    for cell in paper.cells:
        if cell.row.startswith("α="):
            assert cell.params["prime.alpha"] == float(cell.row[2:]), cell.source
        if cell.row.startswith("n = "):
            assert cell.params["prime.k"] == int(cell.row[4:]), cell.source
        if cell.column.endswith("k=1") and cell.core == "pag":
            assert cell.params["pag.k"] == 1, cell.source


def test_what_cannot_be_read_is_empty_and_says_why(paper: Reported) -> None:
    empty = [c for c in paper.cells if c.value is None]
    assert {c.source for c in empty} == {f"Table 6b, α=0.2, LaMP-4 {m}" for m in ("R-1", "R-L")}
    assert all(c.reading for c in empty)


def test_only_table_9_has_standard_errors(paper: Reported) -> None:
    assert {c.table for c in paper.cells if c.stderr is not None} == {"9"}
    assert sum(c.stderr is not None for c in paper.cells) == 12


def test_disagreements_are_those_found_by_comparing_two_tables_by_hand(paper: Reported) -> None:
    found = [str(d) for d in disagreements(paper)]
    assert "perpcs, LaMP-2 · Llama-2-7b, accuracy: 0.363 (Tables 1, 4), 0.369 (Table 2)" in found
    assert "pag:k=1, LaMP-4 · Llama-2-7b, rouge-L: 0.188 (Table 1), 0.206 (Table 10)" in found
    # Per-Pcs in two metrics on three tasks, and the one of Table 10.
    assert len(found) == 7


def test_the_sheet_shows_every_printed_cell_once_and_nothing_else(paper: Reported) -> None:
    shown = sheet(PAPER)
    printed = Counter(
        (c.task, c.model, c.metric, c.value, c.table) for c in paper.cells if c.value is not None
    )
    on_sheet: Counter[Any] = Counter()
    for f in shown.figures:
        task, model = f.task.split(" · ")
        if f.value is not None:
            assert set(f.seeds) == {f.value}
            for source in f.sources:
                on_sheet[task, model, f.metric, f.value, source.removeprefix("Table ")] += 1
    assert on_sheet == printed
    keys = [(f.task, f.method, f.metric) for f in shown.figures]
    assert len(keys) == len(set(keys))
    assert {s for f in shown.figures for s in f.sources} == set(shown.sources)
    assert {f.method for f in shown.figures} == set(shown.methods)
    assert tuple(dict.fromkeys(f.task for f in shown.figures)) == shown.tasks


def test_one_method_in_two_tables_is_one_row_and_a_disagreement_is_two() -> None:
    shown = sheet(PAPER)
    figure = {(f.task, f.method, f.metric): f for f in shown.figures}
    tab = "LaMP-2 · Llama-2-7b"
    prime = figure[tab, "prime", "accuracy"]
    assert prime.sources == ("Table 1", "Table 2", "Table 4")  # Base, α=0.0 and n = 3
    assert figure[tab, "perpcs", "accuracy"].value == 0.363
    assert figure[tab, "perpcs (Table 2)", "accuracy"].value == 0.369
    assert figure[tab, "perpcs (Table 2)", "auc"].value == 0.523
    assert figure[tab, "perpcs", "auc"].reason == "not reported"
    assert figure[tab, "pag (GPT profiles)", "f1"].value == 0.316
    assert shown.methods["prime"]["parameters"][tab]["prime.alpha"] == 0.0
    assert any("0.369 (Table 2)" in line for line in shown.warnings)


def test_the_paper_s_auc_is_its_own_game_and_has_no_place() -> None:
    for f in sheet(PAPER).figures:
        assert (f.game, f.attack) == (("paper", "loss") if f.metric == "auc" else (None, None))
        assert (f.rank is None) == (f.metric == "auc" or f.value is None)
        assert f.value is not None or f.reason


def test_places_are_counted_by_printed_value_and_shared() -> None:
    figures = [f for f in sheet(PAPER).figures if f.task == "LaMP-3 · Llama-2-7b" and f.metric == "MAE"]
    ordered = sorted(f.value for f in figures if f.value is not None)
    for f in figures:
        assert f.value is not None
        first = ordered.index(f.value) + 1
        assert f.rank == (first, first + ordered.count(f.value) - 1)


Change = Callable[[dict[str, Any]], None]


def _row(**changes: Any) -> Change:
    return lambda content: content["cells"][6].update(changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_row(value=1.2), "row 7: value 1.2 is outside the range of accuracy; correct it"),
        (_row(value=0.1234), "row 7: value 0.1234 has more than 3 decimals"),
        (_row(value="0.5"), 'row 7: value: unexpected "0.5"'),
        (_row(value=True), "row 7: value: unexpected true"),
        (_row(value=None), "row 7: has no value; say in reading why"),
        (_row(task="LaMP-9"), "row 7: unknown task 'LaMP-9'"),
        (_row(metric="MAE"), "row 7: unknown metric 'MAE'"),
        (_row(method="primo"), "row 7: unknown method 'primo': did you mean prime"),
        (_row(method="prime:alfa=1"), "row 7: "),
        (_row(method="np+rag"), "row 7: method 'np+rag' is labelled 'rag'"),
        (_row(method="np,rag"), "row 7: method 'np,rag' is not a single label"),
        (_row(mark="blue"), "row 7: unknown mark 'blue'"),
        (_row(table="3"), "row 7: unknown table '3'"),
        (_row(row=5), "row 7: row: unexpected 5"),
        (_row(colour="red"), "row 7: unknown entry 'colour'"),
        (lambda c: c["cells"].append(dict(c["cells"][0])), "is in row 1 already; drop one"),
        (lambda c: c.update(cells=[]), "has no cells"),
        (lambda c: c["cells"].insert(3, 7), "row 4: expected an object"),
        (lambda c: c.update(schema="other"), "schema is not 'prime-audit/reported/1'"),
        (lambda c: c["tables"]["1"].pop("model"), "table 1: missing model"),
        (lambda c: c["publication"].update(targets="many"), 'publication: targets: unexpected "many"'),
    ],
)
def test_a_broken_cell_is_refused_in_one_line_naming_file_and_row(
    tmp_path: Path, change: Change, message: str
) -> None:
    content = json.loads((PAPER / "cells.json").read_text(encoding="utf-8"))
    change(content)
    assert message in refusal(read_cells, tmp_path / "cells.json", json.dumps(content))


@pytest.mark.parametrize("text", ["", "[]", '{"schema": NaN}', "{", "[" * 100_000])
def test_what_is_not_a_cells_file_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    refusal(read_cells, tmp_path / "cells.json", text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 'paper'", "missing title"),
        ("name = ", "is not TOML"),
        (None, "No such file"),
        ("about = 5", "about: unexpected 5"),
    ],
)
def test_a_broken_board_file_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    shutil.copy(PAPER / "cells.json", tmp_path)
    if text is not None:
        (tmp_path / "board.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        sheet(tmp_path)
