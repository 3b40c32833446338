"""Tables in three forms: whatever a text holds, it stays one cell, and is read back as it was."""

from __future__ import annotations

import csv as csv_module
import io
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from prime_audit.io.markup import latex_text, markdown_text, number, plain
from prime_audit.report.table import Cell, Table, csv, latex, markdown, marked, spared

NASTY = [
    *("<script>alert(1)</script>", "a | b", "`code` *bold* _it_ ~~gone~~", "[link](http://x)", "![i](x)"),
    *("50 % of $5 & #1 {x} \\input{y} ~ ^", "line\nbreak\tand\rmore", "&amp; &lt;", "[0.5]", "*", "\\\\"),
    *("\x1b[31mred", "\u202eright to left", "a  b", "a---b", "# head", "> quote", "==", "<u>1</u>", "&copy;"),
]
TEXTS = st.one_of(st.sampled_from(NASTY), st.text(max_size=20))


def table(*texts: str) -> Table:
    cells = tuple((Cell(text=t), Cell(0.12345, (0.1, 0.2)), Cell(-0.5, signed=True)) for t in texts)
    heads = (("", "Output"), ("LaMP-2", "Acc ↑"), ("LaMP-2", "AUC − base"))
    labels = tuple((f"q{i // 2}", f"row {i}") for i in range(len(texts)))
    return Table("t", ("Question", "Source"), heads, labels, cells)


def read_markdown(text: str) -> list[list[str]]:
    """Cells as a Markdown reader shows them: text of its tokens, and nothing but text and our marks."""
    found: list[list[str]] = []
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for token in tokens:
        if token.type == "tr_open":
            found.append([])
        if token.type == "inline":
            children: list[Any] = token.children or []
            allowed = {"text", "strong_open", "strong_close", "html_inline"}
            assert {c.type for c in children} <= allowed
            assert {c.content for c in children if c.type == "html_inline"} <= {"<u>", "</u>"}
            found[-1].append("".join(c.content for c in children if c.type == "text"))
    assert [t.type for t in tokens].count("table_open") == 1
    return found


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_markdown_shows_any_text_as_it_is(texts: list[str]) -> None:
    rows = read_markdown(markdown(table(*texts)))
    assert rows[0] == ["Question", "Source", "Output", "LaMP-2 Acc ↑", "LaMP-2 AUC − base"]
    assert len(rows) == 1 + len(texts)
    for row, text in zip(rows[1:], texts, strict=True):
        assert row[2:] == [plain(text), "0.123 [0.100, 0.200]", "−0.500"]


@given(TEXTS)
def test_markdown_headings_and_bullets_show_any_text(text: str) -> None:
    (_, inline, _) = MarkdownIt("commonmark").parse(f"## {markdown_text(f'a {text}')}")
    assert all(c.type == "text" for c in inline.children or [])
    assert "".join(c.content for c in inline.children or []) == plain(f"a {text}")


COMMANDS = {
    **{
        r"\textbackslash{}": "\\",
        r"\textasciigrave{}": "`",
        r"\textasciitilde{}": "~",
        r"\textasciicircum{}": "^",
    },
    **{
        r"\textless{}": "<",
        r"\textgreater{}": ">",
        r"$\alpha$": "α",
        r"$\pm$": "±",
        "$-$": "−",
        r"\textendash{}": "–",
        "-{}": "-",
    },
    **{r"$\uparrow$": "↑", r"$\downarrow$": "↓", r"$\varepsilon$": "ε", r"$\geq$": "≥", r"$\Delta$": "Δ"},
    **{r"$\cdot$": "·", r"$\frac{1}{2}$": "½", "{[}": "[", "{]}": "]", "{*}": "*"},
    **{f"\\{mark}": mark for mark in "&%$#_{}"},
}


def read_latex(text: str) -> str:
    """Read LaTeX back, one command or plain letter at a time; a special character left bare fails."""
    pattern = "|".join(re.escape(c) for c in sorted(COMMANDS, key=len, reverse=True))
    read, at = "", 0
    while at < len(text):
        if match := re.compile(pattern).match(text, at):
            read += COMMANDS[match[0]]
            at = match.end()
        else:
            assert text[at] not in "\\{}$&#^_~%[]*<>`", text
            assert text[at : at + 2] != "--", text
            read += text[at]
            at += 1
    return read


@given(TEXTS)
def test_latex_sets_any_text_as_it_is(text: str) -> None:
    assert read_latex(latex_text(text)) == plain(text)


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_every_latex_row_has_its_columns(texts: list[str]) -> None:
    lines = latex(table(*texts)).splitlines()
    assert lines[0] == r"\begin{tabular}{llp{0.55\linewidth}rr}"
    assert lines[-1] == r"\end{tabular}"
    body = [line for line in lines if line.endswith(r" \\")]
    for line in body:
        spans = [int(n) for n in re.findall(r"\\multicolumn\{(\d)\}", line)]
        wide = len(re.findall(r"(?<!\\)&", line)) + 1 + sum(spans) - len(spans)
        assert wide == 5
    assert len(body) == 2 + 2 * len(texts)  # two rows of heads, figures and their intervals


def test_the_csv_holds_full_precision() -> None:
    rows = list(csv_module.reader(io.StringIO(csv([table("a\nb", "=1")]))))
    figures = "LaMP-2 Acc ↑"
    assert rows[0] == [
        *("table", "Question", "Source", "Output", figures, f"{figures} low", f"{figures} high"),
        "LaMP-2 AUC − base",
    ]
    assert rows[1] == ["t", "q0", "row 0", "a\nb", "0.12345", "0.1", "0.2", "-0.5"]
    assert len(rows) == 3


def test_tables_of_one_form_share_a_header() -> None:
    other = Table("x", ("a",), (("", "m"),), (("r",),), ((Cell(1.0, error=0.25),),))
    rows = list(csv_module.reader(io.StringIO(csv([table("a"), table("b"), other]))))
    assert [row[0] if row else "" for row in rows] == ["table", "t", "t", "", "table", "x"]
    assert rows[-2:] == [["table", "a", "m", "m standard error"], ["x", "r", "1.0", "0.25"]]


def test_bold_is_what_no_other_beats_where_any_is_beaten() -> None:
    cells = [Cell(0.9), Cell(0.8), Cell(0.3), Cell(text="n/a")]
    assert [c.best for c in marked(cells, [(1, 2), (1, 2), (3, 3), None])] == [True, True, False, False]
    assert not any(c.best for c in marked(cells, [(1, 3)] * 3 + [None]))
    bold = Table("", ("",), (("", "x"),), (("a",), ("b",)), ((Cell(1.0),), (Cell(2.0, best=True),)))
    assert "**2.000**" in markdown(bold)
    assert r"\textbf{2.000}" in latex(bold)
    assert "**1.000**" not in markdown(bold)


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [(0.0005, True, "+0.001"), (-0.0001, True, "0.000"), (-0.25, False, "−0.250"), (1.5, False, "1.500")],
)
def test_numbers(value: float, signed: bool, text: str) -> None:
    assert number(value, signed) == text


def test_a_mean_is_shown_with_its_standard_error() -> None:
    one = Table("", ("",), (("", "x"),), (("a",),), ((Cell(0.412, error=0.0144),),))
    assert "0.412 ± 0.014" in markdown(one)
    assert r"0.412 $\pm$ 0.014" in latex(one)


def test_repeated_labels_are_left_out() -> None:
    labels = [("LaMP-2", "a", "x"), ("LaMP-2", "a", "y"), ("LaMP-2", "b", "y"), ("LaMP-4", "b", "y")]
    assert spared(labels) == [("LaMP-2", "a", "x"), ("", "", "y"), ("", "b", "y"), ("LaMP-4", "b", "y")]
    assert spared([("LaMP-2", "a"), ("LaMP-2", "a")])[1] == ("", "a")
