"""The built-in world: seeded users whose hidden taste or style decides the gold, for the six tasks of LaMP.

A world has clusters of like-minded users: a prototype taste per cluster, and a small deviation per user. So similar
users exist, and an adapter of one helps another in the same cluster. Part of every history (the ``noise``) can only
be memorised. The vocabulary and its meaning are the same in all worlds (``lexicon``); users, tastes and texts change
with the seed. Randomness is Python's own Mersenne Twister, keyed by text, so a seed gives the same world on every
machine and version.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

from prime_audit.errors import UserError
from prime_audit.lamp.data import Dataset, Item, Query, User
from prime_audit.lamp.records import item_words, question_words
from prime_audit.lamp.tasks import TASKS, Task, find_task
from prime_audit.lamp.world.croissant import FILE, croissant
from prime_audit.lamp.world.text import STYLES, SUBJECTS, Event, Taste, write_event

DEVIATION = 0.35
"""Standard deviation of a user's liking around their cluster's (which has 1)."""
OWN_WAY = 0.12
"""Probability that a user's option of a style feature is their own instead of their cluster's."""

Layout = Literal["perpcs", "official"]

SIMULATED: Mapping[str, Task] = {name: task for name, task in TASKS.items() if name in SUBJECTS}
"""The tasks for which the world makes users, by name."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Size of a world; the defaults suit a laptop."""

    users: int = 48
    adapt: int = 12
    """Users whose questions adapt the base model."""
    targets: int = 14
    """Users who are personalised and tested; the rest may share."""
    history: tuple[int, int] = (30, 40)
    """Fewest and most items of a history."""
    queries: int = 9
    """Questions of each user who adapts or is a target."""
    clusters: int = 6
    """Groups of like-minded users."""
    noise: float = 0.1
    """Share of random decisions, 0–1."""

    def __post_init__(self) -> None:
        low, high = self.history
        if min(self.adapt, self.targets, self.queries) < 0 or self.adapt + self.targets > self.users:
            raise UserError(
                f"world: {self.adapt} adapting users and {self.targets} targets, {self.queries} "
                f"questions each, do not fit in {self.users} users: pass more users or fewer roles"
            )
        if not 1 <= low <= high:
            raise UserError(f"world: history {low}-{high} is not a range of at least one item")
        if self.clusters < 1 or not 0 <= self.noise <= 1:
            raise UserError(
                "world: needs at least one cluster and noise between 0 and 1, not "
                f"{self.clusters}, {self.noise}"
            )


def world(task: str, *, seed: int = 0, **given: Any) -> Dataset:
    """Generate the users of one task, in any spelling; its name, the seed and the sizes decide everything.

    ``given`` are fields of :class:`Sizes`. The data set's layout and source are ``world``. Users who may share have no
    questions. No user has a profile text.

    Raises UserError for an unknown task, a task without tables in the world, and sizes that do not fit together.
    """
    spec = find_task(task)
    if spec.name not in SUBJECTS:
        raise UserError(
            f"world: makes no users for {spec.name}: pass --data PATH, or add the task's tables "
            "to prime_audit/lamp/world/text.py"
        )
    sizes = Sizes(**given)
    prototypes = [
        _prototype(spec.name, Random(f"{seed}/{spec.name}/cluster/{c}")) for c in range(sizes.clusters)
    ]
    people = [
        _user(spec, seed, number, prototypes[number % sizes.clusters], sizes) for number in range(sizes.users)
    ]
    asked = sizes.adapt + sizes.targets
    # Roles follow the numbers and clusters alternate, so every role sees every cluster.
    return Dataset(
        task=spec.name,
        source="world",
        layout="world",
        adapt=tuple(people[: sizes.adapt]),
        targets=tuple(people[sizes.adapt : asked]),
        candidates=tuple(people[asked:]),
    )


def write_world(
    task: str,
    out_dir: str | Path,
    *,
    seed: int = 0,
    layout: Layout = "perpcs",
    described: bool = False,
    **sizes: Any,
) -> Path:
    """Write a world in a real layout, atomically, and return the task's folder.

    ``perpcs`` creates ``out_dir/<short name>/`` with its three user files and the targets' label file. ``official``
    creates ``out_dir/<name>/dev_questions.json`` and ``dev_outputs.json``, one record per question. ``described``
    adds ``croissant.json``. ``sizes`` are :func:`world`'s.

    Raises UserError where :func:`world` does, for an unknown layout, and where the folder is not empty or cannot be
    written.
    """
    data, row = world(task, seed=seed, **sizes), find_task(task)
    if layout not in _LAYOUTS:
        raise UserError(f"cannot write layout {layout!r}: known: {', '.join(sorted(_LAYOUTS))}")
    folder = Path(out_dir) / (row.short if layout == "perpcs" else row.official)
    with staged(folder) as draft:
        write_files(data, draft, layout)
        if described:
            text = croissant(row, draft, layout, seed, asdict(Sizes(**sizes)))
            (draft / FILE).write_text(text, encoding="utf-8")
    return folder


def write_files(data: Dataset, folder: Path, layout: Layout = "perpcs") -> None:
    """Write the files of a layout into a folder. Raises OSError where it cannot be written."""
    _LAYOUTS[layout](find_task(data.task), data, folder)


def require_new(out: Path) -> None:
    """Raise where a new folder exists and is not empty."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists and is not empty: pass a new folder")


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Yield an empty folder, which becomes ``out`` if the body succeeds and is deleted otherwise.

    Raises UserError where ``out`` is not empty, or cannot be written.
    """
    require_new(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # Beside the destination, so that the final rename stays on one file system and is atomic.
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as aside:
            draft = Path(aside, out.name)
            draft.mkdir()
            yield draft
            draft.replace(out)
    except OSError as error:
        raise UserError(
            f"{out}: cannot be written ({error.strerror or error}): free some space or check its permissions"
        ) from None


def _prototype(task: str, rng: Random) -> Taste:
    return Taste(
        liking={subject: rng.gauss(0, 1) for subject in SUBJECTS[task]},
        style={feature: rng.choice(options) for feature, options in STYLES[task].items()},
        harshness=rng.gauss(0, 0.7),
    )


def _deviate(task: str, prototype: Taste, rng: Random) -> Taste:
    return Taste(
        liking={subject: value + rng.gauss(0, DEVIATION) for subject, value in prototype.liking.items()},
        style={
            feature: rng.choice(options) if rng.random() < OWN_WAY else prototype.style[feature]
            for feature, options in STYLES[task].items()
        },
        harshness=prototype.harshness + rng.gauss(0, DEVIATION / 2),
    )


def _user(task: Task, seed: int, number: int, prototype: Taste, sizes: Sizes) -> User:
    taste = _deviate(task.name, prototype, Random(f"{seed}/{task.name}/taste/{number}"))
    rng = Random(f"{seed}/{task.name}/life/{number}")
    name = f"u{number:03d}"
    items, queries = list[Item](), list[Query]()
    for position in range(rng.randint(*sizes.history)):
        event = write_event(task.name, taste, rng, sizes.noise)
        items.append(Item(f"{name}-{position:03d}", dict(event.item)))
    if number < sizes.adapt + sizes.targets:
        known = {item_words(task, item) for item in items}
        for position in range(sizes.queries):
            event = write_event(task.name, taste, rng, sizes.noise)
            # A question in the user's own history is removed when the world is written and read.
            while question_words(task, query := _question(name, position, event)) & known:
                event = write_event(task.name, taste, rng, sizes.noise)
            queries.append(query)
    return User(name, tuple(items), tuple(queries))


def _question(name: str, position: int, event: Event) -> Query:
    return Query(f"{name}-q{position:02d}", dict(event.question), event.gold)


def _write_perpcs(task: Task, data: Dataset, folder: Path) -> None:
    _write(folder / "user_base_LLM.json", [_record(task, user) for user in data.adapt])
    _write(folder / "user_anchor_candidate.json", [_record(task, user) for user in data.candidates])
    _write(folder / "test_100" / "user_test_100.json", [_record(task, user) for user in data.targets])
    golds = [{"id": query.id, "output": query.gold} for user in data.targets for query in user.queries]
    _write(folder / "test_100" / "user_test_100_label.json", {"task": task.official, "golds": golds})
    profiles = {
        user.id: user.profile
        for user in (*data.adapt, *data.targets, *data.candidates)
        if user.profile is not None
    }
    if profiles:
        _write(folder / "profile-id2text.json", profiles)


def _write_official(task: Task, data: Dataset, folder: Path) -> None:
    pairs = [
        (user, query) for user in (*data.adapt, *data.targets, *data.candidates) for query in user.queries
    ]
    questions = [
        {
            "id": query.id,
            "user_id": user.id,
            "input": task.format_question(query.fields),
            "profile": _profile(user),
        }
        for user, query in pairs
    ]
    outputs = [{"id": query.id, "output": query.gold} for _, query in pairs]
    _write(folder / "dev_questions.json", questions)
    _write(folder / "dev_outputs.json", {"task": task.official, "golds": outputs})


_LAYOUTS: Mapping[str, Callable[[Task, Dataset, Path], None]] = {
    "perpcs": _write_perpcs,
    "official": _write_official,
}


def _record(task: Task, user: User) -> dict[str, object]:
    return {
        "user_id": user.id,
        "profile": _profile(user),
        "query": [
            {"id": query.id, "input": task.format_question(query.fields), "gold": query.gold}
            for query in user.queries
        ],
    }


def _profile(user: User) -> Sequence[dict[str, str]]:
    return [{"id": item.id, **item.fields} for item in user.history]


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
