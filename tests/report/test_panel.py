"""The control panel as readers meet it: on the terminal, in a run's table.md and in a board's."""

from __future__ import annotations

import csv
import html
import io
import json
import textwrap
from dataclasses import replace
from typing import get_args

import pytest
from rich.console import Console

from prime_audit.audit.verdict import EDITION, Word
from prime_audit.io.markup import markdown_text
from prime_audit.plan.plan import parse_methods
from prime_audit.plugins.loading import available, load_game
from prime_audit.record import Comparison, Failure, Leak, Record
from prime_audit.report import columns, page, page_data, text, views
from prime_audit.report.columns import LEGEND, MEANINGS, OLDER, PANEL, VERDICTS, Column, older
from prime_audit.report.from_record import sheet_of
from prime_audit.report.page_data import load
from prime_audit.report.sheet import PanelRow
from prime_audit.report.table import Cell
from prime_audit.report.views import panel
from tests import records
from tests.boards.invented import METHODS, run_record

LONG = next(spec.label for spec in parse_methods("prime:alpha=0.6,k=3+rag"))
LACKING = "the record holds no difference to the unmerged base's AUC"
TPR = {"0.1": 0.16, "0.01": 0.07, "0.001": None}
GAMES = {name: load_game(name) for name in available("game")}


def leak(method: str, game: str, attack: str = "loss", verdict: str = "no leak found") -> Leak:
    """Return a figure whose AUC is 0.572."""
    return records.leak(
        method=method,
        game=game,
        attack=attack,
        auc=0.572,
        ci=(0.492, 0.642),
        verdict=verdict,
        p=0.0035,
        p_adjusted=0.007,
        over_control=-0.271,
        over_control_ci=(-0.376, -0.192),
        tpr=TPR,
        epsilon=0.11,
        epsilon_ceiling=2.55,
    )


def gap(of: Leak, difference: float | None = 0.124, reason: str | None = None) -> Comparison:
    """Return what a figure has over the base."""
    ci = None if difference is None else (difference - 0.03, difference + 0.03)
    return records.comparison(
        task=of.task,
        method=of.method,
        baseline="base",
        metric="auc",
        difference=difference,
        ci=ci,
        n=400,
        reason=reason,
        game=of.game,
        attack=of.attack,
    )


def record_of(leaks: tuple[Leak, ...], gaps: tuple[Comparison, ...]) -> Record:
    """Return a run of one task with these figures."""
    made = run_record(methods=(*METHODS, LONG), tasks=("LaMP-2",))
    known = {(r.method, r.game, r.attack) for r in made.results}
    more = [
        records.result(
            task=x.task,
            method=x.method,
            metric="auc",
            value=x.auc,
            ci=x.ci,
            n=400,
            game=x.game,
            attack=x.attack,
        )
        for x in leaks
        if (x.method, x.game, x.attack) not in known
    ]
    return replace(made, results=(*made.results, *more), leaks=leaks, comparisons=(*made.comparisons, *gaps))


def shown(record: Record) -> str:
    """Return what the terminal shows of a record, 100 columns wide."""
    console = Console(width=100, file=io.StringIO(), force_terminal=False)
    console.print(text.terminal(sheet_of(record, "r"), 100, details=True, explain=True))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def markdown(record: Record) -> str:
    """Return a run's table.md."""
    return text.markdown(sheet_of(record, "r"))


def rows_of(markdown: str) -> list[dict[str, str]]:
    """Read the control panel out of Markdown: a row's cells by their heads."""
    lines = markdown.split("### Control panel")[1].strip().split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def test_every_game_shows_what_its_auc_has_over_the_base() -> None:
    leaks = tuple(leak("prime", game) for game in ("paper", "heldout", "inclusion", "target"))
    record = record_of(leaks, tuple(gap(x, 0.1 + place / 100) for place, x in enumerate(leaks)))
    expected = [f"+{x:.3f} [+{x - 0.03:.3f}, +{x + 0.03:.3f}]" for x in (0.1, 0.11, 0.12, 0.13)]
    assert [row["over base"] for row in rows_of(markdown(record))] == expected
    drawn = shown(record)
    assert all(figure in drawn for figure in ("+0.100", "[+.070, +.130]", "+0.130", "[+.100, +.160]"))
    assert LACKING not in drawn


def test_where_the_record_holds_none_it_says_why() -> None:
    leaks = (leak("prime", "paper"), leak("prime", "heldout"), leak("perpcs", "heldout"))
    record = record_of(leaks, (gap(leaks[0]), gap(leaks[1], None, "base undefined for all items")))
    found = {(row["method"], row["game"]): row["over base"] for row in rows_of(markdown(record))}
    assert found["prime", "paper"].startswith("+0.124")
    assert (found["prime", "heldout"], found["perpcs", "heldout"]) == ("n/a²", "n/a³")
    below = markdown(record).split("### Control panel")[1]
    words = " ".join(shown(record).split())
    for number, reason in ("²", "base undefined for all items"), ("³", LACKING):
        assert f"* {number} {reason}\n" in below
        assert f"{number} {reason}" in words


def test_every_verdict_has_its_reason() -> None:
    """On the terminal, in table.md, in table.csv and on the page; the same reason has one number."""
    leaks = (leak("prime", "paper"), replace(leak("perpcs", "heldout"), why="another <reason>"))
    record = record_of((*leaks, replace(leaks[0], game="target")), ())
    below = markdown(record).split("### Control panel")[1]
    assert [row["verdict"] for row in rows_of(markdown(record))] == [f"no leak found{n}" for n in "²³²"]
    assert "\n* ² because\n" in below
    assert "\n* ³ another &lt;reason&gt;\n" in below
    drawn = " ".join(shown(record).split("control panel")[1].split())
    assert "² because" in drawn
    assert "³ another <reason>" in drawn
    rows = list(csv.DictReader(io.StringIO(text.csv(sheet_of(record, "r")))))
    told = {(r["method"], r["game"]): (r["verdict"], r["verdict_reason"]) for r in rows if r["verdict"]}
    because = ("no leak found", "because")
    assert told.pop(("perpcs", "heldout")) == ("no leak found", "another <reason>")
    assert told == {("prime", "paper"): because, ("prime", "target"): because}
    read = page.render(sheet_of(record, "r"))
    assert "<li>perpcs: no leak found. another &lt;reason&gt;</li>" in read
    data = load(read)
    assert {"because", "another <reason>"} <= {text for text in data["texts"] if isinstance(text, str)}


@pytest.mark.parametrize("attack", ["loss", "reference", "lira_offline"])
def test_the_terminals_panel_fits_a_hundred_columns(attack: str) -> None:
    methods = ("prime", LONG)
    verdicts = ("leaks", "leaks, already in the base", "confounded", "no leak found")
    games = ("paper", "heldout", "inclusion", "target")
    leaks = [leak(m, g, attack, v) for m in methods for g, v in zip(games, verdicts, strict=True)]
    gaps = [gap(x, 0.124 if x.method == "prime" else 0.125) for x in leaks]
    below = shown(record_of(tuple(leaks), tuple(gaps))).split("control panel")[1]
    assert max(map(len, below.splitlines())) <= 100
    for whole in (*games, attack, "+0.12", "+.09", "[.492, .642]", "0.11", "2.55"):
        assert below.count(whole) >= 2, whole
    assert "…" not in below  # nothing is cut off
    (head,) = [line for line in below.splitlines() if line.startswith("method")]
    assert head.split()[-1] == "verdict"  # beside its game, not in a block below


def test_methods_of_one_module_share_a_row() -> None:
    leaks = (leak("soup", "heldout"), leak("prime", "heldout"), leak("nearest", "heldout"))
    record = record_of(leaks, (gap(leaks[0]), gap(leaks[1]), gap(leaks[2], 0.2)))
    assert panel(sheet_of(record, "r"), "LaMP-2").labels == (("soup, prime",), ("nearest",))


def test_q_tail_and_what_could_have_been_found() -> None:
    """One q for every game; of records that have none, a note names their rules."""
    figures = {"q": 0.021, "tail": 0.34, "detectable": 0.581}
    leaks = tuple(replace(leak("prime", game), **figures) for game in GAMES)
    record = replace(record_of(leaks, tuple(map(gap, leaks))), rules=EDITION)
    for row in rows_of(markdown(record)):
        assert (row["q"], row["tail"], row["detectable AUC"]) == ("0.021", "0.340", "0.581")
    drawn = shown(record)
    assert all(drawn.count(figure) == len(GAMES) for figure in ("0.021", "0.340"))
    assert drawn.count("0.581") == len(GAMES)
    old = replace(record_of(tuple(replace(x, q=None) for x in leaks), ()), rules=1)
    assert {row["q"] for row in rows_of(markdown(old))} == {"–"}
    for said in (" ".join(shown(old).split()), markdown(old), html.unescape(page.render(sheet_of(old, "r")))):
        assert markdown_text(OLDER[1]) in said or OLDER[1] in said
    assert OLDER[1] not in " ".join(drawn.split())
    assert older([old, record]) == (f"1 of 2 records: {OLDER[1]}",)
    assert older([record, replace(old, leaks=())]) == ()


def test_one_legend_under_every_panel() -> None:
    """On the terminal, in table.md, on the page: the same words."""
    leaks = (leak("prime", "paper"), leak("prime", "heldout"))
    record = record_of(leaks, tuple(map(gap, leaks)))
    lost = [r for r in record.results if (r.method, r.metric) == ("prime", "auc")]
    failures = tuple(
        Failure(task=r.task, stage=f"game {r.game}", method=r.method, attack=r.attack, error="x")
        for r in lost
    )
    results = tuple(replace(r, value=None, reason="failed: x") if r in lost else r for r in record.results)
    broken = replace(record, results=results, leaks=(), failures=failures)
    for line in LEGEND:
        for one in (record, broken):  # also where attacks that failed are all there is
            assert line in " ".join(shown(one).split())
            assert line in html.unescape(page_data.plain(page.render(sheet_of(one, "r"))))
            assert f"* {markdown_text(line)}\n" in markdown(one)
    bare = replace(record, leaks=())
    assert LEGEND[0] not in " ".join(shown(bare).split())
    assert LEGEND[0] not in markdown(bare)


def test_the_terminals_legend_is_short() -> None:
    assert sum(len(textwrap.wrap(line, 100)) for line in LEGEND) <= 9


def test_every_verdict_and_column_is_in_the_legend() -> None:
    assert set(VERDICTS) == set(get_args(Word))
    for name, meaning in (*MEANINGS.items(), *VERDICTS.items()):
        assert f"{name}: {meaning}" in " ".join(LEGEND)
    assert set(MEANINGS) == {c.name for c in PANEL} - {"game", "attack", "verdict"}


def test_a_column_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is declared once is on the terminal, in table.md, table.csv and table.json, and on the page."""
    column = Column[PanelRow](
        name="members",
        cell=lambda x: Cell(text=f"{x.leak.members} of them"),
        fields={"members": lambda x: x.leak.members},
        help="counted",
    )
    for module in (columns, views, page_data, text):
        monkeypatch.setattr(module, "PANEL", (*PANEL, column))
    record = record_of((leak("prime", "paper"),), ())
    assert rows_of(markdown(record))[0]["members"] == "40 of them"
    assert "members" in shown(record)
    rows = list(csv.DictReader(io.StringIO(text.csv(sheet_of(record, "r")))))
    assert [row["members"] for row in rows if row["verdict"]] == ["40"]
    content = json.loads(text.as_json(sheet_of(record, "r")))
    (own,) = [panels for figure in content["figures"] for panels in figure["panels"]]
    assert own[content["panel"].index("members")] == 40
    data = load(page.render(sheet_of(record, "r")))
    assert data["panel"][-1] == {"name": "members", "help": "counted"}
    assert "40 of them" in data["texts"]
