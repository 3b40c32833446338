"""Your own data, from rows of JSON to a report.

python own_data.py                        generates some rows first, so it runs anywhere (two minutes on two cores)
python own_data.py my_items.jsonl         yours: {"user": …, "input": …, "output": …} per line, oldest first

The rows here are headlines of articles (LaMP-4). LaMP-2 are labels, LaMP-3 ratings from 1 to 5, LaMP-5 titles, LaMP-7
wordings. ``prime-audit list tasks`` shows them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from prime_audit import Run, compare
from prime_audit.lamp.check import check
from prime_audit.lamp.importer import import_items
from prime_audit.lamp.world.world import world

TASK = "LaMP-4"


def made_up(file: Path) -> Path:
    """Write rows of simulated users, as a product would log them."""
    users = world(TASK, seed=1, users=24, adapt=0, targets=0, history=(8, 14)).candidates
    rows = [
        {"user": user.id, "id": item.id, "input": item.fields["text"], "output": item.fields["title"]}
        for user in users
        for item in user.history
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def main(words: Sequence[str] | None = None) -> Run:
    """Check, import, compare, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "items", nargs="?", type=Path, help="rows of user, input, output: JSONL, JSON, CSV, TSV or Parquet"
    )
    parser.add_argument("--out", type=Path, default=Path("own_data"), help="folder for all results")
    parser.add_argument("--model", help="a Hugging Face folder or hub id; by default the packaged mini model")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as compare's --set")
    chosen = parser.parse_args(words)
    chosen.out.mkdir(parents=True, exist_ok=True)

    # 1. What the file contains: users, lengths, duplicates, and every row that cannot be used.
    items = chosen.items or made_up(chosen.out / "items.jsonl")
    report = check(items, TASK)
    print(f"{items}: {sum(role.users for role in report.roles)} users, {len(report.defects)} defective rows")
    for defect in report.defects:
        print(f"  {defect}")

    # 2. Roles are drawn once and saved: who adapts the base, who is tested, who may share.
    data = import_items(items, TASK, chosen.out / TASK, seed=0).source
    print(f"{data}: split into {chosen.out / TASK}")

    # 3. Does it help the user, and what does it leak?
    run = compare(
        "rag,oppu,perpcs,prime",
        tasks=TASK,
        data=str(chosen.out / TASK),
        games="paper,heldout,target",
        model=chosen.model,
        overrides=list(chosen.set),
        out=chosen.out / "run",
    )

    # 4. All results are in the run's folder; from Python as rows, or as pandas frames (run.frame("results")).
    for result in run.record.results:
        if result.value is not None and result.metric in ("rouge-1", "auc"):
            print(result.method, result.metric, result.game or "", f"{result.value:.3f}", result.ci)
    for leak in run.record.leaks:
        print(leak.method, leak.game, leak.verdict, leak.why, sep=": ")
    print(f"the page: {run.path / 'index.html'}")
    return run


if __name__ == "__main__":
    main()
