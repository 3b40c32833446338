"""The one door for data: any layout, recognised by its files, becomes a data set of users by role."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from prime_audit.errors import UserError
from prime_audit.io.tables import FORMATS, is_table, unpacked_name
from prime_audit.lamp import items, longlamp, official, perpcs
from prime_audit.lamp.columns import read_columns
from prime_audit.lamp.data import Dataset
from prime_audit.lamp.records import Log
from prime_audit.lamp.split import Roles, SplitOptions
from prime_audit.lamp.tasks import TASKS, Task, find_task

ARCHIVES = (
    *(".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst"),
    *(".7z", ".rar", ".bz2", ".xz", ".zst"),
)
"""Archive files, which are refused: unpack them with a dedicated program."""
Layout = Literal["official", "perpcs", "oppu", "longlamp", "items"]


@dataclass(frozen=True)
class _Source:
    """Where the data is."""

    path: Path
    """A folder, or the file to read."""
    layout: Layout


def read(
    path: str | Path,
    task: str | None = None,
    *,
    seed: int = 0,
    targets: int = 100,
    adapt_share: float = 0.25,
    queries: float = 0.2,
    strict: bool = False,
    columns: str | Mapping[str, str] | None = None,
    time_column: str | None = None,
) -> Dataset:
    """Read a data set in any layout: official LaMP, Per-Pcs, OPPU, LongLaMP or plain items.

    ``path`` is a task's folder, a folder with one subfolder per task, an official questions file, or a file of plain
    items. Of several official splits in a folder, dev is read, else train; pass a file to read another. ``task``, in
    any spelling, is optional where the data or the file's name has it. ``strict`` raises at any defect instead of
    reporting it in ``Dataset.defects``. ``columns`` names the columns of plain items that have other names
    (``user=author_id,input=text``, or a dict), and ``time_column`` that of ``time``. The other options are those of
    :class:`SplitOptions`, for layouts without roles.

    Raises UserError for a fault of a whole file, an unknown layout or task, and a data set without targets or
    candidates.
    """
    options = SplitOptions(seed, targets, adapt_share, queries)
    wanted = find_task(task) if task is not None else None
    source = _find(Path(path), wanted)
    found, log, named = _task(source, wanted), Log(), read_columns(columns, time_column)
    if named and source.layout != "items":
        raise UserError(
            f"{path}: has the {source.layout} layout, whose columns have fixed names: leave out --columns and "
            "--time-column"
        )
    try:
        if source.layout == "items":
            roles = items.read_items(source.path, found, options, log, named)
        else:
            roles = _READERS[source.layout](source.path, found, options, log)
    except UserError:
        if strict:  # defects may be the reason for too few people: report them first
            log.require_none(path)
        raise
    if strict:
        log.require_none(path)
    for name, users in (("target", roles[1]), ("candidate for sharing", roles[2])):
        if not users:
            file, kept = _stated(source)[0], sum(len(user.history) for role in roles for user in role)
            remedy = log.remedy(kept, file.name if file else "")
            raise UserError(f"{path}: no {name} is left{log.first()}: {remedy}")
    return Dataset(
        task=found.name,
        source=str(path),
        layout=source.layout,
        adapt=roles[0],
        targets=roles[1],
        candidates=roles[2],
        defects=tuple(log.defects),
        notes=tuple(log.notes),
    )


def task_of(path: str | Path) -> Task:
    """Return the task of a path, from its data or its name. Raises UserError where neither has one."""
    return _task(_find(Path(path), None), None)


def holds_items(path: str | Path, task: str | None) -> bool:
    """Return whether a path is a table of plain items. Raises UserError where no layout is known."""
    return _find(Path(path), find_task(task) if task is not None else None).layout == "items"


def searchable(dataset: Dataset) -> bool:
    """Return whether all history items have what training and searching need (official LaMP-1: no)."""
    gold = TASKS[dataset.task].gold_field
    users = (*dataset.targets, *dataset.candidates)
    return all(gold in item.fields for user in users for item in user.history)


def require_searchable(dataset: Dataset) -> None:
    """Raise where training or searching is impossible: LaMP-1 without citations."""
    if not searchable(dataset):
        gold = TASKS[dataset.task].gold_field
        raise UserError(
            f"{dataset.source}: {dataset.task} histories without {gold} cannot be trained on or "
            "searched: use data that has it, such as the Per-Pcs layout"
        )


_READERS: dict[Layout, Callable[[Path, Task, SplitOptions, Log], Roles]] = {
    "official": official.read_official,
    "perpcs": lambda path, task, _, log: perpcs.read_perpcs(path, task, log),
    "oppu": perpcs.read_oppu,
    "longlamp": longlamp.read_longlamp,
}


_PARTS: dict[str, tuple[str, ...]] = {
    "official": tuple(f"{split}{official.OUTPUTS}" for split in ("dev", "train", "test")),
    "Per-Pcs": (
        *(perpcs.ADAPT, perpcs.CANDIDATES, perpcs.PROFILES),
        *(Path(name).name for name in (perpcs.TARGETS, perpcs.LABELS)),
    ),
    "OPPU": (perpcs.OPPU_TARGETS, perpcs.OPPU_OTHERS, *perpcs.OPPU_PROFILES),
}
"""Files of layouts that are folders, apart from questions; the first matching pattern names one."""


def _find(path: Path, task: Task | None) -> _Source:
    if task is None:
        _require_public(path)
    try:
        if path.is_dir():
            return _find_in_folder(path, task)
        if not path.is_file():
            raise UserError(f"{path}: no such file or folder: check the path")
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or error}): check its permissions"
        ) from None
    if official.split_of(path) is not None:
        return _Source(path, "official")
    if part := _part_of(path):
        home = path.parent.parent if path.parent.name == Path(perpcs.TARGETS).parent.name else path.parent
        raise UserError(f"{path}: is one file of the {part[0]} layout: pass its folder, {home}")
    if longlamp.is_longlamp(path, task):
        return _Source(path, "longlamp")
    if is_table(path.name):
        return _Source(path, "items")
    if path.name.lower().endswith(ARCHIVES):
        raise UserError(f"{path}: archives are not read: unpack it ({_unpacking(path)}) and pass the folder")
    known = ", ".join(f"*{suffix}" for suffix in (official.QUESTIONS, *FORMATS))
    raise UserError(f"{path}: no layout is known by this name: pass a folder, or {known}")


def _unpacking(path: Path) -> str:
    """Return a command that unpacks an archive safely, into one folder."""
    if path.name.lower().endswith(".zip"):
        return "python -m zipfile -e FILE FOLDER"
    return (
        "python -m tarfile --filter data -e FILE FOLDER"
        if ".t" in path.name.lower()
        else "with its own program"
    )


def _find_in_folder(folder: Path, task: Task | None) -> _Source:
    entries = sorted(folder.iterdir())
    _require_names(folder, entries)
    source = _layout_of(folder, task)
    if source is not None:
        return source
    choices = [entry for entry in entries if _holds(entry) and (task is None or _task_in_name(entry) is task)]
    named = f" of {task.name}" if task else ""
    tables = [e for e in entries if is_table(e.name) and e.is_file() and not _part_of(e)]
    unnamed = [entry for entry in tables if _task_in_name(entry) is None]
    if task is not None and not choices:  # a table without a task in its name is of the task that was passed
        choices = unnamed
    if len(choices) == 1:
        return _find(choices[0], task)
    if choices:
        names = ", ".join(entry.name for entry in choices[:8])
        raise UserError(
            f"{folder}: several data sets{named} ({names}): pass one of them{'' if task else ', or the task'}"
        )
    for entry in entries if task is None else ():
        _require_public(entry)
    hint = f"; pass {unnamed[0].name} itself if it has plain items" if unnamed else ""
    raise UserError(
        f"{folder}: no data{named} in a known layout: official LaMP, Per-Pcs, OPPU, LongLaMP, or plain items{hint}"
    )


def _layout_of(folder: Path, task: Task | None) -> _Source | None:
    if any((folder / name).exists() for name in (perpcs.CANDIDATES, perpcs.ADAPT, perpcs.TARGETS)):
        return _Source(folder, "perpcs")
    if perpcs.oppu_targets(folder) or (folder / perpcs.OPPU_OTHERS).exists():
        return _Source(folder, "oppu")
    if official.questions_files(folder):
        return _Source(official.questions_file(folder), "official")
    if longlamp.is_longlamp(folder, task):
        return _Source(folder, "longlamp")
    return None


def _holds(entry: Path) -> bool:
    """Return whether a folder's entry is a data set: a task's folder in a known layout, or a table."""
    if entry.is_dir():
        named = _task_in_name(entry)
        return named is not None and _layout_of(entry, named) is not None
    # Folders hold JSON files of many kinds: only a name with a task makes one a table.
    return is_table(entry.name) and (
        not unpacked_name(entry.name).endswith(".json") or _task_in_name(entry) is not None
    )


def _part_of(path: Path) -> tuple[str, str] | None:
    """Return the layout that has a file of this name, in any case, packed or not, and its name there."""
    name = unpacked_name(path.name)
    found = ((layout, part) for layout, parts in _PARTS.items() for part in parts)
    match = next((own for own in found if fnmatchcase(name, own[1].lower())), None)
    return match and (match[0], name if "*" in match[1] else match[1])


def _require_names(folder: Path, entries: Sequence[Path]) -> None:
    """Raise UserError where a folder has a layout's file under another spelling only."""
    for entry in entries:
        if (part := _part_of(entry)) and part[0] != "official" and not (folder / part[1]).exists():
            raise UserError(f"{entry}: the {part[0]} layout has it as {part[1]}: unpack and rename it")


def _require_public(path: Path) -> None:
    """Raise UserError, which says so, where a name is that of LaMP-6: its data are not public."""
    if re.fullmatch(r"(?i)lamp[-_ ]?6", path.name):
        try:
            find_task(path.name)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None


def _task(source: _Source, wanted: Task | None) -> Task:
    """Choose the task. The data's own task must match the option; a name decides where neither is present."""
    file, stated = _stated(source)
    if wanted and stated and not wanted.may_state(stated.name):
        raise UserError(
            f"{file}: contains {stated.name}, not {wanted.name}: pass the other task or the other file"
        )
    path = Path(os.path.realpath(source.path))  # which links to itself
    found = wanted or stated or _task_in_name(path) or _task_in_name(path.parent)
    if found is None:
        raise UserError(
            f"{source.path}: neither the data nor its name has the task: pass --tasks (compare, "
            f"plan) or --task, one of {', '.join(TASKS)}"
        )
    return found


def _stated(source: _Source) -> tuple[Path | None, Task | None]:
    """Return the file that says which task the data are of, and the task; None where there is none."""
    if source.layout == "longlamp":
        return source.path, longlamp.task_of(source.path)
    if source.layout == "items":
        return None, None
    official_file = source.layout == "official"
    file = official.outputs_file(source.path) if official_file else perpcs.labels_file(source.path)
    return file, official.stated_task(file) if file else None


def _task_in_name(path: Path) -> Task | None:
    """Find a task's name in a file's or folder's name (``headlines.LaMP-4.jsonl.gz``)."""
    words = re.split(r"[.\s]+", path.name) + re.findall(r"(?i)lamp[-_]?\d[a-z]?(?![a-z\d])", path.name)
    for word in words:
        try:
            return find_task(word)
        except UserError:
            continue
    return None
