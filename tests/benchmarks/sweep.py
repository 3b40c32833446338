"""How the preset ``small`` got its recipes: a sweep that only sees adaptation users, so no result can be tuned by it.

Half of the adaptation users (drawn by the seed) are *learners*, the other half *readers*. No target and no candidate
takes part.

* ``adaptation``: adapt the base on the learners' questions; the readers' questions score it.
* ``sharer``: adapt the base on the learners' questions by the preset's recipe (``--set`` changes it), then train an
  adapter of each of the readers with the longest histories; their held-out items score it.

Training, prompts and answers are the suite's own. The criterion, fixed before the first result: of the points of a grid
at which at least 95 % of the answers end by themselves (on every task), those within one standard error of the best
utility on every task are equal (Breiman et al. 1984, the one-standard-error rule); of equals, the fewest optimizer
steps, then the lowest loss of the golds. Utility is the task's first metric; the standard error is that of the
difference to the best point, over users.

    python -m tests.benchmarks.sweep run adaptation --model M --data D --task LaMP-4 --out points.jsonl
    python -m tests.benchmarks.sweep table points.jsonl

Each point is a line of ``--out`` with every setting that decides it; a point that is there is not computed again, so a
sweep can be stopped, continued and split (``--lr``, ``--epochs``). Another ``--set`` makes another point; a table has
points that differ in learning rate and epochs only. Lines hold numbers and hashes, no text.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from prime_audit.community.build import Community
from prime_audit.community.profile_texts import plain_profile
from prime_audit.community.sharers import Sharer, hold_out
from prime_audit.community.store import Store
from prime_audit.engine.bank import AdapterBank
from prime_audit.engine.base import Base
from prime_audit.engine.batches import Tick
from prime_audit.engine.embed import base_encoder
from prime_audit.engine.engine import Engine
from prime_audit.engine.load import load_base
from prime_audit.engine.mixture import BASE, Mixture, Request, alone
from prime_audit.engine.recipe import Recipe, steps_of
from prime_audit.errors import UserError
from prime_audit.lamp.data import Dataset, User
from prime_audit.lamp.metrics import score
from prime_audit.lamp.prompts import Example, history_examples, query_examples
from prime_audit.lamp.source import open_data
from prime_audit.lamp.tasks import TASKS, Task
from prime_audit.seeds import rng_of
from prime_audit.settings import Settings, load_settings

GRIDS: dict[str, tuple[list[float], list[int]]] = {
    "adaptation": ([3e-4, 1e-3, 2e-3], [2, 4, 6]),
    "sharer": ([5e-4, 1e-3, 2e-3, 5e-3], [2, 4]),
}
"""Part → learning rates, epochs."""
DECIDING: dict[str, tuple[str, ...]] = {
    "adaptation": ("adaptation.", "lora.", "context", "max_new"),
    "sharer": ("adaptation.", "sharer.", "lora.", "context", "max_new", "max_items", "heldout"),
}
"""Part → how the names of the settings begin that decide its points."""
ENDED = 0.95
"""The least share of answers that must end by themselves."""
SHARERS = 4
"""Readers who are treated as sharers: those with the longest histories."""


@contextmanager
def _silent(*_: Any, **__: Any) -> Iterator[Tick]:
    yield lambda _: None


def halves(users: Sequence[User], seed: int) -> tuple[list[User], list[User]]:
    """Split users into learners and readers by the seed, whatever their order."""
    ordered = sorted(users, key=lambda user: user.id)
    order = rng_of(seed, "sweep").permutation(len(ordered)).tolist()
    return [ordered[i] for i in order[::2]], [ordered[i] for i in order[1::2]]


def deciding(settings: Settings, part: str, task: str) -> dict[str, Any]:
    """Return the settings that decide a part's points, without the two that the sweep varies."""
    varied = (f"{part}.lr", f"{part}.epochs")
    return {
        key: value
        for key, value in settings.for_task(task).items()
        if key.startswith(DECIDING[part]) and key not in varied
    }


class Sweep:
    """One part of the sweep on one task."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.part, self.seed, self.out, self.cache = args.part, args.seed, args.out, args.cache
        self.settings: Settings = load_settings(args.preset, args.set)
        self.task: Task = TASKS[args.task]
        data = open_data(args.data, args.task, args.seed, self.settings)
        learners, readers = halves(data.adapt, args.seed)
        cap = args.questions

        def capped(users: Sequence[User]) -> list[User]:
            return [replace(user, queries=user.queries[-cap:] if cap else user.queries) for user in users]

        self.data: Dataset = replace(data, adapt=tuple(capped(learners)), targets=(), candidates=())
        self.readers = capped(readers)
        self.sharers: list[Sharer] = []
        if self.part == "sharer":
            longest = sorted(readers, key=lambda user: -len(user.history))[:SHARERS]
            share = self.settings.get("heldout", args.task)
            self.sharers = [hold_out(user, 0, share, self.seed) for user in longest]
        self.base: Base = load_base(
            args.model,
            targets=self.settings.get("lora.modules"),
            dtype="float32",
            context=self.settings.get("context"),
        )
        self.loaded = self.base.loaded_sha256
        self.scored = self._scored()

    def points(self, lrs: Sequence[float], epochs: Sequence[int]) -> None:
        """Compute the points that ``--out`` lacks, the control without training of this part first."""
        known = {json.dumps(self._name(row), sort_keys=True) for row in read(self.out)}
        grid = [(0.0, 0), *itertools.product(lrs, epochs)]
        for lr, count in grid:
            begun = time.time()
            row = self._row(lr, count)
            if json.dumps(self._name(row), sort_keys=True) in known:
                continue
            row |= self._point(lr, count)
            row["seconds"] = round(time.time() - begun, 1)
            with self.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(line(row), flush=True)

    def _row(self, lr: float, epochs: int) -> dict[str, Any]:
        """Return what decides a point."""
        texts = "\n".join(f"{user} {example.text}" for user, _, example in self.scored)
        return {
            "part": self.part,
            "task": self.task.name,
            "lr": lr,
            "epochs": epochs,
            "seed": self.seed,
            "model": self.loaded[:12],
            "scored": hashlib.sha256(texts.encode()).hexdigest()[:12],
            "settings": deciding(self.settings, self.part, self.task.name),
        }

    @staticmethod
    def _name(row: dict[str, Any]) -> dict[str, Any]:
        return {
            word: row.get(word)
            for word in ("part", "task", "lr", "epochs", "seed", "model", "scored", "settings")
        }

    def _scored(self) -> list[tuple[str, Mixture, Example]]:
        """List what is asked: (user, who answers, prompt and gold)."""
        if self.part == "adaptation":
            return [(u.id, BASE, e) for u in self.readers for e in query_examples(self.task, u)]
        return [
            (s.user.id, alone(s.user.id), e)
            for s in self.sharers
            for e in history_examples(self.task, s.user, items=s.heldout, augmented=False)
        ]

    def _point(self, lr: float, epochs: int) -> dict[str, Any]:
        """Train by one point's recipe, then score; with no epochs, score what the part starts from."""
        self.base.restore()
        recipe = self.settings.recipe(self.part, self.task.name) | (
            {"lr": lr, "epochs": epochs} if epochs else {}
        )
        community = self._community({f"{self.part}.{key}": value for key, value in recipe.items()})
        asked, steps, begun = self.scored, 0, self.base.spent.prompt_tokens
        if self.part == "sharer" or epochs:
            community.adapt()
        if self.part == "sharer":
            begun = self.base.spent.prompt_tokens
        if self.part == "adaptation" and epochs:
            steps = steps_of(sum(len(u.queries) for u in self.data.adapt), Recipe(**recipe))
        elif self.part == "sharer" and epochs:
            lora = {
                key: self.settings.get(f"lora.{key}", self.task.name) for key in ("rank", "alpha", "dropout")
            }
            shown = [s.shown for s in self.sharers]
            community.engine.bank.add(community.train_own(shown, Recipe(**recipe), lora=lora, stage="share"))
            steps = sum(steps_of(len(community.user_examples(u)), Recipe(**recipe)) for u in shown)
        elif self.part == "sharer":
            asked = [(user, BASE, example) for user, _, example in asked]
        learned = self.base.spent.prompt_tokens - begun
        return self._scores(community.engine, asked) | {"steps": steps, "tokens": learned}

    def _community(self, changed: dict[str, Any]) -> Community:
        """Build the learners' community, with some settings ``changed``."""
        get = self.settings.get
        engine = Engine(
            base=self.base,
            bank=AdapterBank(self.base),
            batch_tokens=get("batch_tokens", self.task.name),
            read_tokens=get("read_tokens", self.task.name),
        )
        community = Community(
            task=self.task,
            data=self.data,
            engine=engine,
            encoder=base_encoder(self.base, get("encoder_tokens"), get("read_tokens")),
            settings=Settings(self.settings.preset, self.settings.overrides | changed),
            seed=self.seed,
            store=Store(self.cache, self.base.spent, self.base.codec.cuts),
            stage=_silent,
        )
        people = [*self.data.adapt, *(s.shown for s in self.sharers)]
        community.profiles.update({u.id: plain_profile(self.task, u) for u in people})
        return community

    def _scores(self, engine: Engine, asked: Sequence[tuple[str, Mixture, Example]]) -> dict[str, Any]:
        """Answer and score: per user, so that points can be compared over users."""
        requests = [Request(e.prompt, who, e.gold, (user, e.id)) for user, who, e in asked]
        written = engine.write(requests, self.settings.get("max_new", self.task.name))
        losses = [-float(row.mean()) for row in engine.score(requests)]
        users = list(dict.fromkeys(user for user, _, _ in asked))
        rows = {user: [i for i, (own, _, _) in enumerate(asked) if own == user] for user in users}
        metrics = self.task.metrics

        def of(part: Sequence[int]) -> dict[str, float]:
            found = score(self.task, [asked[i][2].gold for i in part], [written[i].text for i in part])
            return {metric: round(found[metric], 5) for metric in metrics}

        return {
            "answers": len(asked),
            "ended": sum(w.ended for w in written) / len(written),
            "loss": round(float(np.mean(losses)), 5),
            "metrics": of(range(len(asked))),
            "users": [
                {"n": len(own), "loss": round(float(np.mean([losses[i] for i in own])), 5), **of(own)}
                for own in rows.values()
            ],
        }


def read(file: Path) -> list[dict[str, Any]]:
    """Read the points of a file; none where it is absent."""
    if not file.exists():
        return []
    return [json.loads(text) for text in file.read_text(encoding="utf-8").splitlines() if text]


def utility(row: dict[str, Any]) -> tuple[str, float]:
    """Return the metric that decides, and its value: more is better."""
    metric = TASKS[row["task"]].metrics[0]
    value = float(row["metrics"][metric])
    return metric, value if TASKS[row["task"]].higher_is_better else -value


def gap(one: dict[str, Any], other: dict[str, Any], key: str) -> tuple[float, float]:
    """Return the mean difference of two points over the same users, weighted by answers, and its standard error."""
    n = np.array([user["n"] for user in one["users"]], dtype=float)
    d = np.array([a[key] - b[key] for a, b in zip(one["users"], other["users"], strict=True)])
    mean = float((n * d).sum() / n.sum())
    many = len(d)
    return mean, math.sqrt(many / (many - 1) * float((n**2 * (d - mean) ** 2).sum())) / float(n.sum())


def half(row: dict[str, Any], error: float) -> float:
    """Return half the width of the 95 % interval of a gap: Student's t over the users of a point."""
    return float(stdtrit(len(row["users"]) - 1, 0.975)) * error


def line(row: dict[str, Any]) -> str:
    """Write one point as a row of the table."""
    metric, _ = utility(row)
    return (
        f"| {row['task']} | {row['lr']:g} | {row['epochs']} | {row['steps']} | {row['metrics'][metric]:.3f} {metric} | "
        f"{row['loss']:.3f} | {row['ended']:.0%} | {row['seconds']:.0f} |"
    )


def chosen(rows: Sequence[dict[str, Any]]) -> tuple[float, int] | None:
    """Choose (lr, epochs) by the criterion above; None where no point ends its answers."""
    points: dict[tuple[float, int], list[dict[str, Any]]] = {}
    for row in rows:
        if row["epochs"]:
            points.setdefault((row["lr"], row["epochs"]), []).append(row)
    tasks = {row["task"] for row in rows}
    able = {
        point: own
        for point, own in points.items()
        if {row["task"] for row in own} == tasks and all(row["ended"] >= ENDED for row in own)
    }
    if not able:
        return None
    best = {
        task: max((r for own in able.values() for r in own if r["task"] == task), key=lambda r: utility(r)[1])
        for task in tasks
    }

    def equal(row: dict[str, Any]) -> bool:
        metric, value = utility(row)
        _, error = gap(row, best[row["task"]], metric)
        return utility(best[row["task"]])[1] - value <= error

    equals = {point: own for point, own in able.items() if all(map(equal, own))} or able
    return min(equals, key=lambda p: (sum(r["steps"] for r in equals[p]), sum(r["loss"] for r in equals[p])))


def _require_alike(rows: Sequence[dict[str, Any]]) -> None:
    """Refuse points of one task that differ in more than learning rate and epochs: they have no common best."""
    for word in ("seed", "model", "scored", "settings"):
        if any(row.get(word) != rows[0].get(word) for row in rows):
            raise UserError(
                f"{rows[0]['part']} on {rows[0]['task']}: the points differ in {word}; keep each sweep in its own file"
            )


def table(files: Sequence[Path]) -> Iterator[str]:
    """Write each part's table, with what is chosen."""
    rows = [row for file in files for row in read(file)]
    for part in GRIDS:
        own = sorted((r for r in rows if r["part"] == part), key=lambda r: (r["task"], r["lr"], r["epochs"]))
        if not own:
            continue
        for task in {row["task"] for row in own}:
            _require_alike([row for row in own if row["task"] == task])
        yield f"\n{part}:\n"
        yield "| task | lr | epochs | steps | utility | to the best | loss | to the best | end | s |"
        yield "|---|---|---|---|---|---|---|---|---|---|"
        for row in own:
            peers = [r for r in own if r["task"] == row["task"]]
            metric, _ = utility(row)
            best = max(peers, key=lambda r: utility(r)[1])
            least = min(peers, key=lambda r: r["loss"])
            d, e = gap(row, best, metric)
            dl, el = gap(row, least, "loss")
            yield (
                f"| {row['task']} | {row['lr']:g} | {row['epochs']} | {row['steps']} | "
                f"{metric} {row['metrics'][metric]:.3f} | {d:+.3f} ± {half(row, e):.3f} | {row['loss']:.3f} | "
                f"{dl:+.3f} ± {half(row, el):.3f} | {row['ended']:.0%} | {row['seconds']:.0f} |"
            )
        yield f"\nchosen: {chosen(own)}"


def main() -> None:
    """Run a part of the sweep, or write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("part", choices=[*GRIDS])
    run.add_argument("--model", required=True)
    run.add_argument("--data", required=True)
    run.add_argument("--task", required=True)
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--preset", default="small")
    run.add_argument("--set", action="append", default=[])
    run.add_argument("--questions", type=int, default=0, help="newest questions of each user; 0: all")
    run.add_argument("--lr", type=float, nargs="*")
    run.add_argument("--epochs", type=int, nargs="*")
    run.add_argument("--out", type=Path, required=True)
    run.add_argument("--cache", type=Path, help="keep the adaptation that all points of `sharer` share")
    show = commands.add_parser("table")
    show.add_argument("files", type=Path, nargs="+")
    args = parser.parse_args()
    try:
        if args.command == "table":
            print("\n".join(table(args.files)))
            return
        lrs, epochs = GRIDS[args.part]
        Sweep(args).points(args.lr or lrs, args.epochs or epochs)
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
