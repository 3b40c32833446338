"""The script of the board ``real`` that turns public files into rows."""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from prime_audit.lamp.readers import read
from prime_audit.lamp.tasks import TASKS

SCRIPT = Path(__file__).parents[2] / "leaderboards" / "real" / "convert.py"
pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="not a checkout: no leaderboards here")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("convert", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def test_headlines(script: ModuleType, tmp_path: Path) -> None:
    def article(n: int, **changes: str) -> str:
        text = {"authors": f"Ann {n % 8}", "short_description": f" What {n} is. ", "headline": f"Title {n}"}
        return json.dumps(
            {**text, "date": f"2020-01-{1 + n % 28:02}", "link": "l", "category": "C", **changes}
        )

    lines = [article(n) for n in reversed(range(80))]
    lines += [
        article(9, authors=""),
        article(9, headline=" "),
        article(1, authors="One"),
        article(0, date="2019-01-01"),
    ]
    source, out = tmp_path / "news.json", tmp_path / "headlines.LaMP-4.jsonl.gz"
    source.write_text("\n".join(lines), encoding="utf-8")
    digest = script.convert("headlines", [source], out, 8, "2020-01-01")
    found = rows(out)
    assert len(found) == 80
    assert [row["time"] for row in found] == sorted(row["time"] for row in found)
    assert found[0].keys() == {"user", "input", "output", "time"}
    assert b"Ann" not in gzip.decompress(out.read_bytes())
    assert {row["input"] for row in found} == {f"What {n} is." for n in range(80)}
    assert script.convert("headlines", [source], tmp_path / "again", 8, "2020-01-01") == digest
    data = read(out)
    assert (data.task, len(data.targets) + len(data.candidates) + len(data.adapt)) == ("LaMP-4", 8)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        *(("3/4", 0.75), ("7/10", 0.7), ("b+", 10 / 12), ("A+", 1.0), ("F", 0.0), ("A-", 11 / 12)),
        *(("", None), ("6/5", None), ("3/0", None), ("fresh", None), ("B++", None), ("two/4", None)),
    ],
)
def test_scores(script: ModuleType, text: str, share: float | None) -> None:
    assert script.score(text) == (None if share is None else pytest.approx(share))


def test_ratings(script: ModuleType, tmp_path: Path) -> None:
    lines = ["rotten_tomatoes_link,critic_name,review_score,review_date,review_content"]
    lines += [
        f'm/{n},Bea,{score},2001-02-0{n + 1},"Fine, {n}"'
        for n, score in enumerate(["4/4", "F", "1/2", "x", ""])
    ]
    lines += ["m/9,,1/2,2001-01-01,nobody", "m/9,Bea,2/4,2001-01-01,"]
    source, out = tmp_path / "reviews.csv", tmp_path / "out"
    source.write_text("\n".join(lines), encoding="utf-8")
    script.convert("ratings", [source], out, 2, "")
    assert [(row["input"], row["output"]) for row in rows(out)] == [
        *(("", "3"), ("Fine, 0", "5"), ("Fine, 1", "1"), ("Fine, 2", "3")),
    ]


def test_tags(script: ModuleType, tmp_path: Path) -> None:
    texts = {
        "given": "userID\tmovieID\ttagID\ttimestamp\n7\t1\t5\t1162160415000\n7\t1\t6\t3\n7\t2\t5\t2\n8\t1\t5\t1",
        "names": 'id\tvalue\n5\tDystopia\n6\tbad "sequel',
        "movies": "id\ttitle\timdbID\n1\tEin Café\t0042\n2\tOther\t43",
        "plots": 'imdb_id,overview\ntt0000042,"A city, below."\ntt0000043,',
    }
    files = [tmp_path / name for name in texts]
    for path, text in zip(files, texts.values(), strict=True):
        path.write_text(text, encoding="utf-8" if path.name == "plots" else "latin-1")
    script.convert("tags", files, tmp_path / "out", 1, "")
    assert [(row["input"], row["output"], row["time"]) for row in rows(tmp_path / "out")] == [
        *(("A city, below.", "dystopia", 1), ("A city, below.", "dystopia", 1162160415000)),
    ]


def test_its_labels_are_the_tasks(script: ModuleType) -> None:
    assert sorted(script.TAGS) == sorted(TASKS["LaMP-2"].labels)
