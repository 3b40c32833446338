"""Sharers whose adapters were trained elsewhere (``--sharers DIR``): one folder each, with their LoRA and items.

::

    DIR/                               with several tasks DIR/LaMP-2/, DIR/LaMP-4/ … (any spelling of a task)
      ann/                             one folder per sharer; its name is the id unless sharer.json has one
        adapter_config.json            as PEFT's save_pretrained writes them: a LoRA
        adapter_model.safetensors
        items.jsonl                    the items the adapter was trained on, one per row, oldest first
        sharer.json                    optional: {"id": "Ann", "profile": "a profile text"}

A row has ``input`` and ``output``, or the task's own fields (LaMP-2: ``description``, ``tag``), and optionally an
``id``. ``"heldout": true`` marks an item that the adapter never saw. The heldout game compares these items with the
others. Draw them at random from all of the sharer's items; without any, that game does not apply.
Items may have any format of a table instead, such as ``items.csv`` (``io/tables.py``). They are sorted by ``time``
where it is there. Only the hash of an adapter is taken here;
``community/given_adapters.py`` reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from prime_audit.errors import UserError
from prime_audit.io.adapter_files import CONFIG, WEIGHTS, adapter_sha256
from prime_audit.io.tables import BadRecordError, is_table, lookalikes, open_table
from prime_audit.lamp.columns import Header, sort_by_time
from prime_audit.lamp.data import Dataset, Given, GivenSharer, Item, User
from prime_audit.lamp.files import load_object
from prime_audit.lamp.items import item_fields
from prime_audit.lamp.records import Log, as_gold, as_id, as_object, as_text, parse_item
from prime_audit.lamp.tasks import TASKS, Task, find_task

ITEMS = "items.jsonl"
_TRUTH = dict.fromkeys(("true", "1", "1.0", "yes"), True) | dict.fromkeys(
    ("false", "0", "0.0", "no", ""), False
)
_BOTH_FORMS = "rows of input and output, or of the task's own fields"


def require_layout(folder: Path, tasks: Sequence[str]) -> None:
    """Raise UserError where a folder cannot contain the sharers of these tasks. No file in it is read."""
    for task in tasks:
        home = folder_of(folder, task)
        if home == folder and len(tasks) > 1:
            raise UserError(
                f"--sharers {folder}: contains one task's sharers, but {len(tasks)} tasks are "
                "run; pass --tasks with one, or move each task's sharers into a folder named "
                f"after it, {folder / task}"
            )


def with_sharers(
    data: Dataset,
    folder: Path,
    base: Path | None,
    *,
    strict: bool = False,
    columns: Mapping[str, str] | None = None,
) -> Dataset:
    """Replace the data's sharers by given ones. The data's own candidates share nothing then.

    The candidates stay, as known non-members. A given sharer is removed from the other roles. ``columns``: role →
    column of the sharers' items, where it has another name.

    Raises UserError where a folder, its items or a base adapter (``base``: what the adapters were trained on) cannot be
    used.
    """
    log = Log()
    given = tuple(_sharers(folder_of(folder, data.task), TASKS[data.task], columns or {}, log))
    if strict:
        log.require_none(folder)
    ids = {s.user.id for s in given}
    if both := [u.id for u in data.targets if u.id in ids]:
        raise UserError(
            f"--sharers {folder}: {shown(both[0])} is also a target of {data.source} and would "
            "merge their own adapter; remove the folder, or set another id in its sharer.json"
        )
    return replace(
        data,
        adapt=tuple(u for u in data.adapt if u.id not in ids),
        candidates=(*(s.user for s in given), *(u for u in data.candidates if u.id not in ids)),
        defects=(*data.defects, *log.defects),
        notes=(*data.notes, *log.notes),
        given=Given(given, base, adapter_sha256(base) if base else None),
    )


def shown(name: str) -> str:
    """Format an id for a message: one line, at most 60 characters, no terminal control codes."""
    return ascii(name)[1:-1][:60]


def folder_of(folder: Path, task: str) -> Path:
    """Find the folder of a task's sharers: the one named after the task, or the whole where none names a task."""
    homes: dict[str, Path] = {}
    for entry in _folders(folder):
        is_sharer = (
            any((entry / name).exists() for name in (CONFIG, WEIGHTS)) or _items_file(entry) is not None
        )
        name = None if is_sharer else _task_named(entry.name)
        if name in homes:
            raise UserError(
                f"--sharers {folder}: {shown(homes[name].name)} and {shown(entry.name)} are both "
                f"of {name}; move its sharers into one of them"
            )
        if name is not None:
            homes[name] = entry
    if not homes:
        return folder
    if task not in homes:
        held = ", ".join(sorted(homes))
        raise UserError(
            f"--sharers {folder}: has no folder for {task}, only for {held}; add it, or pass --tasks"
        )
    return homes[task]


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(e for e in folder.iterdir() if e.is_dir() and not e.name.startswith("."))
    except OSError as error:
        raise UserError(
            f"--sharers {folder}: {error.strerror}; pass a folder with one folder per sharer"
        ) from None


def _task_named(name: str) -> str | None:
    try:
        return find_task(name).name
    except UserError:
        return None


def _sharers(folder: Path, task: Task, columns: Mapping[str, str], log: Log) -> Iterator[GivenSharer]:
    seen: dict[str, str] = {}
    for home in _folders(folder):
        found = _sharer(home, task, columns, log)
        name = found.user.id
        if name in seen:
            raise UserError(
                f"--sharers {folder}: {shown(seen[name])} and {shown(home.name)} are both of "
                f"sharer {shown(name)}; set another id in one sharer.json"
            )
        seen[name] = home.name
        yield found
    if not seen:
        raise UserError(
            f"--sharers {folder}: contains no folder; add one per sharer, with {CONFIG}, "
            f"{WEIGHTS} and {ITEMS}"
        )


def _sharer(home: Path, task: Task, columns: Mapping[str, str], log: Log) -> GivenSharer:
    sha256 = adapter_sha256(home)
    name, profile = _card(home)
    path = _items_file(home)
    if path is None:
        raise UserError(f"{home}: has no {ITEMS} (the items the adapter was trained on): add {_BOTH_FORMS}")
    where = f"{shown(home.name)}/{path.name}"
    items, held = _items(path, columns, task, name, where, log)
    items = _without_twins(items, held, where, log)
    trained = tuple(i.id for i in items if i.id not in held)
    if not trained:
        raise UserError(
            f"{path}: contains no item that the adapter was trained on{log.first()}: add {_BOTH_FORMS}, or pass "
            "--columns input=…,output=…"
        )
    user = User(name, tuple(items), profile=profile)
    return GivenSharer(user, trained, tuple(i.id for i in items if i.id in held), home, sha256)


def _card(home: Path) -> tuple[str, str | None]:
    """Read a sharer's id and profile text."""
    path = home / "sharer.json"
    said: dict[str, object] = load_object(path) if path.exists() else {}
    if unknown := sorted(said.keys() - {"id", "profile"}):
        raise UserError(f"{path}: unknown entry {shown(unknown[0])}; only id and profile are allowed")
    try:
        profile = as_text(said, "profile") if "profile" in said else None
        return as_id({"id": home.name} | said), profile
    except BadRecordError as problem:
        raise UserError(f"{path if path.exists() else home}: {problem}: correct it") from None


def _items_file(home: Path) -> Path | None:
    """Find the one file of a sharer's items."""
    found = sorted(
        p for p in home.iterdir() if p.name.lower().startswith("items.") and is_table(p.name) and p.is_file()
    )
    if len(found) > 1:
        raise UserError(
            f"{home}: {shown(found[0].name)} and {shown(found[1].name)} are both items; keep one of them"
        )
    return found[0] if found else None


def _items(
    path: Path, columns: Mapping[str, str], task: Task, name: str, where: str, log: Log
) -> tuple[list[Item], dict[str, bool]]:
    """Read a sharer's items and which of them are held out. Defective items are reported and left out."""
    kept: dict[str, Item] = {}
    held: dict[str, bool] = {}
    times: dict[str, object] = {}
    table = open_table(path)
    rows = [*table.rows()]
    found = {key for _, value in rows if isinstance(value, dict) for key in value}
    # A named column wins over one of the role's own name. A file without it may have the roles' names.
    named = {role: column for role, column in columns.items() if column in found}
    if odd := lookalikes(found, {"heldout": ("isheldout",)}).get("heldout"):
        raise UserError(f"{path}: column {shown(odd)} is not read: rename it to heldout, or remove it")
    header = Header(path, named, table.header, free=True)
    for place, value in rows:
        with log.skipping(where, place):
            raw = as_object(value)
            header.add(raw)
            row = {**raw, **{role: raw.get(column) for role, column in named.items()}}
            item, out = _item(task, name, place, row)
            if item.id in kept:
                raise BadRecordError(f"its id {shown(item.id)!r} occurs twice")
            kept[item.id], times[item.id] = item, row.get("time")
            held |= {item.id: True} if out else {}
    header.note(log, where)
    items = [*kept.values()]
    order = sort_by_time(
        {name: [*times.values()]},
        where,
        header.names["time"],
        log,
        file_is_ordered=True,
        there=header.names["time"] in header.found,
    ).get(name)
    return ([items[n] for n in order] if order is not None else items), held


def _item(task: Task, name: str, place: str, row: Mapping[str, object]) -> tuple[Item, bool]:
    out = row.get("heldout", False)
    held = _TRUTH.get(str("" if out is None else out).strip().lower())
    if held is None:
        raise BadRecordError("heldout is neither true nor false")
    if "user" in row and as_id(row, "user") != name:
        raise BadRecordError(
            f"its user is {shown(as_id(row, 'user'))!r}, but the folder's is {shown(name)!r}"
        )
    # A row without an id gets its position in the file.
    record = row if row.get("id") not in (None, "") else {**row, "id": place.rpartition(" ")[2]}
    if "output" not in record or task.name == "LaMP-1":
        return parse_item(task, record), held
    fields = item_fields(task, as_text(record, "input"), as_gold(task, record, "output"))
    return Item(as_id(record), fields), held


def _without_twins(items: Sequence[Item], held: dict[str, bool], where: str, log: Log) -> list[Item]:
    """Drop held-out items whose words also occur in another item: the copy may have been trained on."""
    words = [item.words for item in items]
    kept = []
    for item in items:
        if item.id in held and words.count(item.words) > 1:
            log.skip(where, shown(item.id), "is held out, and another item of this sharer has the same words")
        else:
            kept.append(item)
    return kept
