"""A leaderboard's figures for other programs: CSV, JSON and LaTeX, from a sheet."""

from __future__ import annotations

import csv as csv_module
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from prime_audit.boards.tables import Column, columns, title
from prime_audit.io.markup import csv_text, latex_text, number, plain
from prime_audit.report.sheet import Figure, Sheet

_CSV = (
    *("task", "method", "metric", "game", "attack", "value", "lo", "hi", "best_place", "worst_place"),
    *(
        "n",
        "targets",
        "baseline",
        "difference",
        "difference_lo",
        "difference_hi",
        "seeds",
        "records",
        "reason",
    ),
)


def csv(sheet: Sheet) -> str:
    """Return every figure as one CSV row, in full precision."""
    stream = io.StringIO()
    writer = csv_module.writer(stream, lineterminator="\n")
    writer.writerow(_CSV)
    for f in sheet.figures:
        writer.writerow(
            (
                *map(csv_text, (f.task, f.method, f.metric, f.game, f.attack)),
                *(
                    f.value,
                    *_pair(f.ci),
                    *_pair(f.rank),
                    f.n,
                    f.targets,
                ),
                *(
                    csv_text(f.baseline),
                    f.difference,
                    *_pair(f.difference_ci),
                    len(f.seeds),
                    csv_text(" ".join(f.sources)),
                    csv_text(f.reason),
                ),
            )
        )
    return stream.getvalue()


def _pair(two: Sequence[float] | None) -> Sequence[float | None]:
    return two or (None, None)


def as_json(sheet: Sheet) -> str:
    """Return the sheet as JSON, one figure a line."""
    content = asdict(sheet)
    content.pop("leaks")
    figures = [json.dumps(f, ensure_ascii=False, allow_nan=False) for f in content.pop("figures")]
    head = json.dumps(
        {"schema": "prime-audit/board/1", **content}, ensure_ascii=False, indent=1, allow_nan=False
    )
    return head.removesuffix("\n}") + ',\n "figures": [\n  ' + ",\n  ".join(figures) + "\n ]\n}\n"


def tex(sheet: Sheet) -> str:
    """Return the utility of every method on every task as a LaTeX table (booktabs), the paper's Table 1 turned."""
    heads = [(task, c) for task in sheet.tasks for c in columns(sheet, task, leakage=False)]
    cells = {(f.task, f.method, (f.metric, f.game, f.attack)): f for f in sheet.figures}
    lines = [
        "% " + plain(sheet.command),
        "\\begin{tabular}{l" + "r" * len(heads) + "}",
        "\\toprule",
        " & ".join(["", *_spans(heads)]) + r" \\",
        " & ".join(["method", *(latex_text(title(c, sheet)) for _, c in heads)]) + r" \\",
        "\\midrule",
    ]
    for method in sheet.methods:
        row = [_texed_cell(cells.get((task, method, c))) for task, c in heads]
        lines.append(" & ".join([f"\\texttt{{{latex_text(method)}}}", *row]) + r" \\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _spans(heads: Sequence[tuple[str, Column]]) -> list[str]:
    counts: Mapping[str, int] = {t: sum(task == t for task, _ in heads) for t, _ in heads}
    return [f"\\multicolumn{{{n}}}{{c}}{{{latex_text(task)}}}" for task, n in counts.items()]


def _texed_cell(figure: Figure | None) -> str:
    if figure is None or figure.value is None:
        return "---"
    text = latex_text(number(figure.value))
    return f"\\textbf{{{text}}}" if figure.rank and figure.rank[0] == 1 else text
