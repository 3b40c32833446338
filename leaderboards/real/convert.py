"""Convert public data sets of real people to this board's rows: ``{"user", "input", "output", "time"}``, oldest first.

    python convert.py headlines News_Category_Dataset_v3.json --since 2018-02-28 --out headlines.LaMP-4.jsonl.gz
    python convert.py ratings rotten_tomatoes_critic_reviews.csv --out ratings.LaMP-3.jsonl.gz
    python convert.py tags user_taggedmovies-timestamps.dat tags.dat movies.dat movies_metadata.csv \\
        --out tags.LaMP-2.jsonl.gz

A user's name becomes ``u`` and ten digits of its SHA-256. That hides names from readers, but not from anyone who has a
list of names to try. Users with fewer than ``--least`` rows are left out. Needs Python alone.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

TAGS = (
    *("sci-fi", "based on a book", "comedy", "action", "twist ending", "dystopia", "dark comedy", "classic"),
    *("psychology", "fantasy", "romance", "thought-provoking", "social commentary", "violence", "true story"),
)
"""The labels of LaMP-2."""
GRADES = {"A": 4.0, "B": 3.0, "C": 2.0, "D": 1.0, "F": 0.0}
Row = dict[str, str | int]


def headlines(news: Path) -> Iterator[Row]:
    """Misra's News Category Dataset (arXiv:2209.11429), a JSON object a line: the teaser, and its author's headline.

    The user is the whole byline, so two people who write together are a third.
    """
    with news.open(encoding="utf-8") as stream:
        for line in stream:
            article = json.loads(line)
            if (
                article["authors"].strip()
                and article["short_description"].strip()
                and article["headline"].strip()
            ):
                yield {
                    "user": article["authors"],
                    "input": article["short_description"].strip(),
                    "output": article["headline"].strip(),
                    "time": article["date"],
                }


def ratings(reviews: Path) -> Iterator[Row]:
    """Leone's table of Rotten Tomatoes reviews (Kaggle, 2020): a critic's line, and the score as 1 to 5 stars.

    A score that is no fraction and no school grade is left out. An empty line stays: real data have such rows.
    """
    with reviews.open(encoding="utf-8", newline="") as stream:
        for review in csv.DictReader(stream):
            share = score(review["review_score"])
            if review["critic_name"].strip() and share is not None:
                yield {
                    "user": review["critic_name"],
                    "input": review["review_content"].strip(),
                    "output": str(max(1, min(5, int(5 * share + 0.5)))),
                    "time": review["review_date"],
                }


def score(text: str) -> float | None:
    """Read ``3.5/5``, ``7/10`` or ``B+`` as a share of the best; None for anything else."""
    text = text.strip().upper()
    try:
        if "/" in text:
            got, _, best = text.partition("/")
            return share if 0.0 <= (share := float(got) / float(best)) <= 1.0 else None
    except (ValueError, ZeroDivisionError):
        return None
    if text[:1] in GRADES and text[1:] in ("", "+", "-"):
        return max(0.0, min(4.0, GRADES[text[0]] + {"": 0.0, "+": 1 / 3, "-": -1 / 3}[text[1:]])) / 4
    return None


def tags(given: Path, names: Path, movies: Path, plots: Path) -> Iterator[Row]:
    """HetRec 2011's MovieLens tags (GroupLens) with the overviews of TMDB (Kaggle, The Movies Dataset).

    A film's overview, and the tag that a user gave it, where that is one of LaMP-2's.
    """
    words = {row["id"]: row["value"].strip().lower() for row in _columns(names)}
    films = {row["id"]: f"tt{int(row['imdbID']):07}" for row in _columns(movies)}
    with plots.open(encoding="utf-8", newline="") as stream:
        overviews = {row["imdb_id"]: (row["overview"] or "").strip() for row in csv.DictReader(stream)}
    for row in _columns(given):
        tag, plot = words.get(row["tagID"], ""), overviews.get(films.get(row["movieID"], ""), "")
        if tag in TAGS and plot:
            yield {"user": row["userID"], "input": plot, "output": tag, "time": int(row["timestamp"])}


def _columns(path: Path) -> Iterator[dict[str, str]]:
    """Read a table of HetRec: tabs, a header, Latin-1, no quotes."""
    with path.open(encoding="latin-1", newline="") as stream:
        yield from csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)


SETS: dict[str, Callable[..., Iterator[Row]]] = {"headlines": headlines, "ratings": ratings, "tags": tags}


def convert(name: str, files: list[Path], out: Path, least: int, since: str) -> str:
    """Write a data set and return the SHA-256 of the file, which depends on the rows alone."""
    found = [row for row in SETS[name](*files) if str(row["time"]) >= since]
    many = Counter(row["user"] for row in found)
    found = sorted((row for row in found if many[row["user"]] >= least), key=lambda row: row["time"])
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=0) as stream:
        for row in found:
            named = {**row, "user": "u" + hashlib.sha256(str(row["user"]).encode()).hexdigest()[:10]}
            stream.write(json.dumps(named, ensure_ascii=False).encode() + b"\n")
    beside = out.with_name(out.name + ".partial")  # an interruption leaves no half of a file under its name
    beside.write_bytes(packed.getvalue())
    beside.replace(out)
    return hashlib.sha256(packed.getvalue()).hexdigest()


def main() -> None:
    """Convert what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=SETS)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--least", type=int, default=8, help="fewest rows of a user")
    parser.add_argument("--since", default="", help="first day, as 2018-02-28; for data with such days")
    given = parser.parse_args()
    print(convert(given.name, given.files, given.out, given.least, given.since), given.out)


if __name__ == "__main__":
    main()
