"""The page of a sheet, read as text: what it holds, what it may load, what becomes of hostile texts."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import re
import subprocess
import sys
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prime_audit.plugins import Game
from prime_audit.plugins.loading import available, load_game
from prime_audit.report import page
from prime_audit.report.columns import PANEL, remark
from prime_audit.report.page_data import dump, link, load, thousandths
from prime_audit.report.sheet import Figure, PanelRow, Sheet, Source

GAMES = {name: load_game(name) for name in available("game")}
EVIL = "<script>alert(1)</script>"


class Reader(HTMLParser):
    """Elements, their attributes and texts, as a browser would find them."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open = [""]
        self.rows: list[list[str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "input", "img", "br"):
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._open[-1], []).append(data)
        if {"th", "td"} & set(self._open):
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def html(sheet: Sheet) -> str:
    return page.render(sheet)


@pytest.fixture(scope="module")
def read(html: str) -> Reader:
    return Reader(html)


def data_of(read: Reader) -> dict[str, Any]:
    found = load(f'id="data">{read.texts["script"][0]}</script>')
    found["texts"] = [
        text if isinstance(text, str) else spelled(found["wordings"], *text) for text in found["texts"]
    ]
    return found


def spelled(wordings: list[str], wording: int, numbers: str) -> str:
    """Put a text's numbers into its wording."""
    pieces = wordings[wording].split("\u00a4")
    return "".join(a + b for a, b in zip(pieces, [*numbers.split("|"), ""], strict=True))


# -- texts of others ----------------------------------------------------------------------------------------


def test_hostile_texts_stay_texts(read: Reader, html: str, sheet: Sheet) -> None:
    assert len(read.all("script")) == 3  # data, library, own: none came in by a label, reason or title
    assert not read.all("img")
    assert not [a for _, attributes in read.elements for a in attributes if a.startswith("on")]
    assert sheet.title in "".join(read.texts["h1"])
    assert any(EVIL in text for text in read.texts["th"])
    assert any("onerror" in text for text in read.texts["li"])
    assert EVIL in data_of(read)["methods"]
    assert html.count("</script>") == 3


def sheet_with(*figures: Figure, **more: Any) -> Sheet:
    """Return a sheet of these figures and little else."""
    tasks, methods = dict.fromkeys(f.task for f in figures), {f.method: {} for f in figures}
    plain: dict[str, Any] = {"name": "n", "title": "t", "about": (), "command": "c", "model": "m"}
    return Sheet(**plain | {"tasks": tuple(tasks), "methods": methods, "figures": figures} | more)


@given(st.text())
def test_any_text_comes_back_from_the_data_and_ends_no_element(text: str) -> None:
    written = dump({"said": text})
    assert not set("<>&\u2028\u2029") & set(written)
    assert load(f'<script id="data">{written}</script>') == {"said": text}


@settings(max_examples=25)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_any_label_and_reason_is_read_back_as_text(text: str) -> None:
    figure = Figure(task="T", method=text, metric="accuracy", value=None, reason=text, higher_is_better=True)
    read = Reader(page.render(sheet_with(figure, title=text, about=(text,), command=text, model=text)))
    assert len(read.all("script")) == 3
    assert text in read.rows[-1]
    assert "".join(read.texts["h1"]) == text
    assert text in read.texts["li"]


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        ("record.json", "record.json"),
        ("records/prime:alpha=0.6+rag/a b.json", "records/prime:alpha=0.6+rag/a%20b.json"),
        ("../x/<y>#z?.json", "../x/%3Cy%3E%23z%3F.json"),
        ("https://example.org/a?b=1&c=2", "https://example.org/a?b=1&c=2"),
        ("http://example.org/", None),
        ("javascript:alert(1)", None),
        ("JaVaScRiPt:alert(1)", None),
        ("java\tscript:alert(1)", None),
        ("data:text/html,x", None),
        ("//example.org/x", None),
        ("/etc/passwd", None),
        ("\\\\host\\x", None),
        ("https://a b", None),
        ('https://a"onclick=x', None),
        ("", None),
    ],
)
def test_only_https_and_relative_addresses_become_links(href: str, expected: str | None) -> None:
    assert link(href) == expected


def test_links_lead_to_the_records(read: Reader, sheet: Sheet) -> None:
    hrefs = [a["href"] or "" for a in read.all("a")]
    assert all(re.match(r"https://|records/|#", href) for href in hrefs)
    assert "records/m2/run%201.json" in hrefs
    assert "https://example.org/paper?table=1&row=2" in hrefs
    anchors = {attributes.get("id") for _, attributes in read.elements}
    assert {href[1:] for href in hrefs if href.startswith("#")} <= anchors  # several records: their list
    assert any("run-6-0 (seed 0)" in text for text in read.texts["li"])  # no link for a script


# -- one file, nothing loaded ----------------------------------------------------------------------------------


def test_nothing_is_loaded_from_anywhere(read: Reader) -> None:
    assert not [tag for tag, attributes in read.elements if "src" in attributes or "srcset" in attributes]
    assert [a["href"] for a in read.all("link")] == ["data:,"]
    style = "".join(read.texts["style"])
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_allows_these_scripts_and_this_style_alone(read: Reader) -> None:
    (policy,) = [m["content"] for m in read.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    _data, *run = read.texts["script"]

    def sha(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert rules["script-src"].split() == [sha(text) for text in run]
    assert rules["style-src"].split() == [sha("".join(read.texts["style"]))]
    assert "unsafe" not in policy
    assert not [attributes for _, attributes in read.elements if "style" in attributes]


def test_the_vendored_library_is_the_one_its_readme_names() -> None:
    folder = files("prime_audit.report").joinpath("assets", "echarts")
    (named,) = re.findall(r"`([0-9a-f]{64})`", folder.joinpath("README.md").read_text(encoding="utf-8"))
    content = folder.joinpath("echarts.min.js").read_bytes()
    assert hashlib.sha256(content).hexdigest() == named
    assert b"</script" not in content.lower()
    for licence in ("LICENSE", "NOTICE", "LICENSE-zrender", "LICENSE-d3", "LICENSE-tslib"):
        assert folder.joinpath(licence).read_text(encoding="utf-8").strip()


def test_the_same_sheet_gives_the_same_bytes_in_any_process() -> None:
    code = (
        "import hashlib; from prime_audit.report import page; from prime_audit.report.sheet import *\n"
        "f = tuple(Figure(task=t, method=m, metric='auc', value=.5, game=g, attack='loss', reason=m + g, "
        "sources=(m,)) for t in ('A', 'B') for m in ('x', 'y') for g in ('p', 'q'))\n"
        "s = Sheet(name='n', title='t', about=(), command='c', model='m', tasks=('A', 'B'), "
        "methods={'x': {'parameters': {'A': {'k': 1}}}, 'y': {}}, figures=f, "
        "sources={m: Source(m, m) for m in 'xy'})\n"
        "print(hashlib.sha256(page.render(s).encode()).hexdigest())"
    )

    def run(**more: str) -> str:
        env = os.environ | more
        return subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        ).stdout

    first = run(PYTHONHASHSEED="1", LC_ALL="C", TZ="UTC")
    assert first == run(PYTHONHASHSEED="2", LC_ALL="C.UTF-8", TZ="Asia/Tokyo")


def test_rendering_needs_no_torch_and_no_matplotlib() -> None:
    heavy = "{'torch', 'matplotlib', 'rich', 'transformers'}"
    code = f"import sys, prime_audit.report.page, prime_audit.report.from_record; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_large_board_stays_below_two_megabytes() -> None:
    """25 methods, 6 tasks, 4 games, 5 attacks, no two figures alike."""
    rng = random.Random(0)
    methods, tasks = [f"method-{i}:alpha={i}" for i in range(25)], [f"T{i}" for i in range(6)]
    found = []

    def figure(
        metric: str, task: str, method: str, game: str | None = None, attack: str | None = None
    ) -> Figure:
        value = rng.random()
        return Figure(
            task=task,
            method=method,
            metric=metric,
            value=value,
            ci=(value / 2, value),
            game=game,
            attack=attack,
            n=126,
            targets=14,
            sources=(method,),
        )

    for task in tasks:
        for m in methods:
            found.append(figure("accuracy", task, m))
            for game in ("paper", "heldout", "inclusion", "target"):
                for attack in ("loss", "zlib", "mink", "ratio", "lira"):
                    for metric in ("auc", "auc_base", "auc_bag_of_words", "auc_length_only"):
                        found.append(figure(metric, task, m, game, attack))
    big = sheet_with(*found, sources={m: Source(m, f"records/{m}.json", 0) for m in methods})
    assert len(page.render(big).encode()) < 2_000_000


# -- what it shows --------------------------------------------------------------------------------------------


def test_every_figure_and_panel_is_in_the_data(read: Reader, sheet: Sheet) -> None:
    data = data_of(read)
    found = {}
    for task in data["tasks"]:
        groups = [(None, None, task["utility"])]
        groups += [(g["game"], g["attack"], g["columns"] + g["controls"]) for g in task["groups"]]
        for game, attack, columns in groups:
            for column in (c for c in columns if "cells" in c):
                for row, cell in enumerate(column["cells"]):
                    method = data["methods"][task["methods"][row]]
                    found[task["name"], method, column["metric"], game, attack] = data["cells"][cell]
    assert len(found) == len(sheet.figures)
    names = data["cell_fields"]
    for f in sheet.figures:
        cell = dict(zip(names, found[f.task, f.method, f.metric, f.game, f.attack], strict=False))
        assert cell["value"] == (None if f.value is None else round(1000 * f.value))
        expected = [None, None] if f.ci is None else [round(1000 * x) for x in f.ci]
        assert [cell["lo"], cell["hi"]] == expected
        assert cell.get("difference") == (None if f.difference is None else round(1000 * f.difference))
        records = [data["records"][i]["id"] for i in data["sets"][cell["records"]]]
        assert tuple(records) == f.sources
        assert f.reason is None or data["texts"][cell["reason"]] == f.reason
    first = data["methods"].index(next(m for m in data["methods"] if m.startswith("prime")))
    prime = data["tasks"][1]["params"][data["tasks"][1]["methods"].index(first)]
    assert [data["texts"][i] for i in prime] == ["prime.k = 3"]
    panels = [
        (t["name"], data["methods"][method], g["game"], g["attack"], panel)
        for t in data["tasks"]
        for g in t["groups"]
        for method, row in zip(t["methods"], g["leaks"], strict=True)
        for panel, _ in row
    ]
    assert len(panels) == len(sheet.leaks)
    judged = {(x.leak.task, x.leak.method, x.leak.game, x.leak.attack): x for x in sheet.leaks}
    for *key, panel in panels:
        one, (*places, place, said) = judged[tuple(key)], data["leaks"][panel]
        assert data["severity"][place] == one.leak.verdict
        assert data["texts"][said] == remark(one)
        for column, place in zip(PANEL, places, strict=True):
            entry = dict(zip(data["entry_fields"], [*data["entries"][place], *[None] * 6], strict=False))
            assert column.cell
            cell = column.cell(one)
            if cell.value is None:
                assert cell.text is None or data["texts"][entry["text"]] == cell.text
            else:
                limits = [entry["value"], entry["lo"], entry["hi"]]
                assert limits == [round(1000 * x) for x in (cell.value, *(cell.ci or ()))] + [None] * (
                    0 if cell.ci else 2
                )
            assert (entry["reason"] is None) == (cell.reason is None)
            assert entry["reason"] is None or data["texts"][entry["reason"]] == cell.reason


def test_without_javascript_the_tables_are_there(read: Reader) -> None:
    sections = [a for a in read.all("section") if a.get("class") == "task"]
    assert len(sections) == 2
    assert not [a for a in sections if "hidden" in a]
    head, *rows = read.rows[:8]
    accuracies = [float(row[2][:5]) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    np_row, evil = (next(row for row in rows if row[0] == m) for m in ("np", EVIL))
    assert head == [
        "method",
        "worst verdict",
        "accuracy ↑",
        "Δ np",
        "f1 ↑",
        "Δ np",
        "AUC",
        "AUC base",
        "AUC − base",
        "verdict",
    ]
    assert np_row == [
        *("np", "not audited", "0.4501–2.[0.400, 0.490]", "–", "0.4001–2.[0.350, 0.440]", "–"),
        *(*["n/a1"] * 3, "–"),
    ]
    assert evil[0] == EVIL
    assert evil[2:4] == ["0.4006–8.[0.350, 0.440]", "−0.050[−0.070, −0.020]"]
    assert evil[6:] == [  # of the heldout game, whose verdict can stand
        "0.700[0.640, 0.760]",
        "0.450[0.400, 0.500]",
        "+0.250[+0.210, +0.290]",
        "no leak found",
    ]
    assert read.rows[8][1:4] == ["worst verdict", "MAE ↓", "Δ np"]


def test_it_opens_on_a_game_whose_verdict_can_stand(read: Reader, html: str, sheet: Sheet) -> None:
    """The paper's game comes first in the sheet, and can never say leaks."""
    assert sheet.leaks[0][0].game == "paper"
    data = data_of(read)
    order = [("heldout", "loss"), ("heldout", "zlib"), ("paper", "loss"), ("paper", "zlib")]
    for task in data["tasks"]:
        assert [(group["game"], group["attack"]) for group in task["groups"]] == order
        said = [data["texts"][group["says"]] for group in task["groups"]]
        assert said == [GAMES[game].says for game, _ in order]
    assert "LaMP-2; leakage: game heldout, attack loss" in read.texts["caption"]
    assert html.count(f'<p class="small">{escape(GAMES["heldout"].says)}</p>') == 2  # without JavaScript too


@pytest.mark.parametrize("game", GAMES.values(), ids=GAMES)
def test_what_a_game_says_agrees_with_what_it_can(game: Game) -> None:
    assert ("can say leaks" in game.says) == game.design.randomised
    assert ("can never say leaks" in game.says) != game.design.randomised


def test_it_opens_on_the_papers_game_where_no_other_has_a_verdict(sheet: Sheet) -> None:
    paper = tuple(judged for judged in sheet.leaks if judged[0].game == "paper")
    read = Reader(page.render(replace(sheet, leaks=paper)))
    assert [g["game"] for g in data_of(read)["tasks"][0]["groups"]] == ["paper"] * 2 + ["heldout"] * 2
    others = tuple(replace(f, game=f.game and f"their {f.game}") for f in sheet.figures)
    told = data_of(Reader(page.render(replace(sheet, figures=others, leaks=()))))
    assert {g["says"] for task in told["tasks"] for g in task["groups"]} == {None}  # not a game of ours


def test_a_figure_of_a_game_stands_with_it_whatever_its_metric(sheet: Sheet) -> None:
    auc = next(f for f in sheet.figures if f.metric == "auc" and f.value is not None)
    games = tuple(
        replace(auc, metric="tpr", game=game, value=v) for game, v in (("paper", 0.1), ("heldout", 0.2))
    )
    (task,) = data_of(Reader(page.render(replace(sheet, figures=games, leaks=()))))["tasks"]
    assert task["utility"] == []
    assert [[c["metric"] for c in group["controls"]] for group in task["groups"]] == [["tpr"], ["tpr"]]


def test_verdicts_of_several_records_are_counted(sheet: Sheet) -> None:
    first, source, gap, *_ = sheet.leaks[0]
    more = [PanelRow(replace(first, verdict=word), source, gap) for word in ("leaks", "leaks", "confounded")]
    read = Reader(page.render(replace(sheet, leaks=tuple(more))))
    row = next(row for row in read.rows if row[0] == first.method)
    assert row[-1] == "leaks 2/3, confounded 1/3"
    assert f"{first.method}: leaks 2/3, confounded 1/3. {first.why}" in read.texts["li"]


def test_many_warnings_are_folded_and_code_is_code(sheet: Sheet) -> None:
    few = page.render(replace(sheet, warnings=("of `mini` <b>",) * 4))
    assert '<div class="warnings"><ul>\n<li>of <code>mini</code> &lt;b&gt;</li>' in few
    many = page.render(replace(sheet, warnings=tuple(f"warning {i}" for i in range(5))))
    assert '<details class="warnings"><summary>5 warnings' in many
    assert all(f"<li>warning {i}</li>" in many for i in range(5))


def test_a_sheet_without_figures_is_a_page() -> None:
    read = Reader(page.render(sheet_with(title="empty")))
    assert "".join(read.texts["h1"]) == "empty"
    assert data_of(read)["tasks"] == []


def test_what_cannot_be_shown_is_an_error(sheet: Sheet) -> None:
    one = sheet.figures[0]
    for figures, said in (
        ((one, one), "two figures of LaMP-2 np accuracy"),
        ((replace(one, method="unheard"),), "no method unheard"),
        ((replace(one, task="LaMP-9"),), "no task LaMP-9"),
        ((replace(one, value=float("nan")),), "nan"),
        ((replace(one, ci=(0.0, float("inf"))),), "inf"),
    ):
        with pytest.raises((ValueError, KeyError), match=said):
            page.render(replace(sheet, figures=figures, leaks=()))


# -- numbers --------------------------------------------------------------------------------------------------


@given(st.floats(-1e6, 1e6))
def test_thousandths_are_the_displayed_number(value: float) -> None:
    number = thousandths(value)
    assert number is not None
    assert number / 1000 == float(f"{value:.3f}")
