"""An exam: all passes of one task's models, and how a run stores them, so that attacks are scored without the model.

``signals/<task>.pool.json`` holds everything in words: the items, who is merged in which model, similarities, coins,
for each pass its files with their sha256, and its own sha256. ``signals/<task>.<sha256>.safetensors`` hold the numbers.
They are named by their content, so that two processes that add signals cannot overwrite each other's; ids and labels
never become paths. Ragged rows are flattened: ``logprobs`` is float64 [all tokens of all models], and
``logprobs.offsets``, int64 [models · items + 1], says where each item begins, models in the order of ``models``. An
item that a model was not queried with is empty. ``top`` is bool, ``continuations`` uint8 (``observed.DTYPES``). The
same signals give the same bytes. A later pass for further signals adds files; only the pool's file changes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from prime_audit.audit.pool import Pool
from prime_audit.audit.signals import ABSENT, WHITE_BOX
from prime_audit.errors import UserError, unknown
from prime_audit.folder import write_atomic
from prime_audit.games.exam.observed import BEHIND, DTYPES, FIELDS, PER_ROW, Observed, texts_in
from prime_audit.io import intake
from prime_audit.lamp.tasks import TASKS
from prime_audit.plugins import Audited

FORMAT = "prime-audit/signals/4"
THIRD = "prime-audit/signals/3"
"""Has no places of items, and does not say whether held-out items were given."""
FOLDER = "signals"
_TEXTS = ("owners", "ids", "prompts", "golds")
"""A pool's columns of texts."""
UNMERGED = ""
"""Takes the place of a target where the unmerged base was queried."""
_PART = re.compile(r"[A-Za-z0-9-]+\.[0-9a-f]{16}\.safetensors")
"""Names of the files of numbers: nothing else is opened, whatever a pool names."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Pass:
    """What the models of one method said of a pool."""

    kind: str
    """The name under which games group their passes (``Queries.name``)."""
    pool: str = "sharers"
    """The pool's name (``Queries.pool``)."""
    method: str | None
    """The method's label, or its core's; None: the unmerged base."""
    labels: Sequence[str] = ()
    """Methods that it is a figure of."""
    merged: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Target → the sharers merged in their model."""
    coins: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    """Target → candidate → whether a coin included them; empty where none were thrown."""
    seen: Mapping[str, Observed] = field(default_factory=dict)
    """Target → what their model said; ``UNMERGED`` for the base. Only targets with a game to play."""
    fields: Sequence[str] = ()
    """What was observed."""
    why: str | None = None
    """Why there is nothing to play; None where there is."""
    failed: bool = False
    """Whether that is because something failed."""

    @property
    def key(self) -> tuple[str, str, str | None]:
        """Names the pass within its exam."""
        return self.kind, self.pool, self.method

    def audited(self, target: str) -> Audited:
        """Return what a game may know of one target's model."""
        return Audited(target=target, merged=self.merged[target], coins=self.coins.get(target, {}))


def trained_by_lot(one: Pass, pool: Pool, rng: np.random.Generator) -> tuple[Pass, Pool]:
    """Draw at random which items of each sharer were trained on, as many as were (``Game.redraw`` of several games)."""
    trained, owners = pool.trained.copy(), np.array(pool.owners)
    for sharer in sorted(set(pool.owners)):
        own = np.flatnonzero(pool.drawn & (owners == sharer))
        trained[own] = rng.permutation(trained[own])
    return one, replace(pool, trained=trained, given=False)  # what we draw is random


@dataclass(frozen=True, eq=False)
class Exam:
    """All that the attacks on one task's models are scored from."""

    task: str
    seed: int
    """The run's."""
    pools: Mapping[str, Pool]
    """By name."""
    similarity: Mapping[str, Mapping[str, float]]
    """Target → sharer → cosine."""
    passes: Sequence[Pass]

    def base(self, pool: str) -> Observed | None:
        """Return what the unmerged base said of a pool; None where no game could be played."""
        found = (p.seen for p in self.passes if p.method is None and p.pool == pool and p.seen)
        return next((seen[UNMERGED] for seen in found), None)

    def lacking(self, needs: Iterable[str], kinds: Iterable[str], single: Iterable[str] = ()) -> list[str]:
        """List observed fields that signals ``needs`` are made of and that a pass of these kinds or its base lacks.

        ``single``: the kinds that query single adapters, which alone have ``WHITE_BOX``.
        """
        wanted, asked = {BEHIND[n] for n in needs if n in BEHIND}, set(kinds)

        def without(field: str) -> bool:
            able = asked & set(single) if field in WHITE_BOX else asked
            pools = {p.pool for p in self.passes if p.kind in able}
            played = (p for p in self.passes if p.kind in able or (p.method is None and p.pool in pools))
            return any(p.seen and field not in p.fields for p in played)

        return [f for f in FIELDS if f in wanted and without(f)]


# -- writing -----------------------------------------------------------------------------------------------


def write_exam(folder: Path, exam: Exam) -> None:
    """Write a task's signals below a run's ``folder``, the pool last; UserError where they cannot be saved."""
    parts = [[_write_part(folder, exam.task, p, p.fields)] if p.seen else [] for p in exam.passes]
    _write_pool(folder, exam, parts)


def add_fields(folder: Path, exam: Exam, more: Sequence[Pass], fields: Sequence[str]) -> Exam:
    """Store ``fields`` of the passes ``more`` beside what is there; return the exam that holds both."""
    content = _read_pool(folder, exam.task)
    parts = [list(p["parts"]) for p in content["passes"]]
    later, passes = {p.key: p for p in more}, list(exam.passes)
    for place, one in enumerate(exam.passes):
        found = later[one.key].fields if one.key in later else ()
        new = [f for f in fields if one.seen and f in found and f not in one.fields]
        if new:
            passes[place] = _joined(one, later[one.key], new)
            parts[place].append(_write_part(folder, exam.task, passes[place], new))
    grown = replace(exam, passes=passes)
    _write_pool(folder, grown, parts)
    return grown


def _joined(one: Pass, later: Pass, new: Sequence[str]) -> Pass:
    seen = {
        target: replace(own, **{f: getattr(later.seen[target], f) for f in new})
        for target, own in one.seen.items()
    }
    return replace(one, seen=seen, fields=tuple(f for f in FIELDS if f in {*one.fields, *new}))


def _write_part(folder: Path, task: str, one: Pass, fields: Sequence[str]) -> dict[str, Any]:
    from safetensors.numpy import save

    tensors: dict[str, np.ndarray] = {}
    for name in fields:
        rows = [row for seen in one.seen.values() for row in getattr(seen, name)]
        tensors[name] = np.concatenate([np.zeros(0, dtype=DTYPES[name]), *rows])
        tensors[f"{name}.offsets"] = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    content = save(tensors)
    sha256 = hashlib.sha256(content).hexdigest()
    file = f"{task}.{sha256[:16]}.safetensors"
    _make(folder)
    write_atomic(folder / FOLDER / file, [content])
    return {"file": file, "sha256": sha256, "fields": list(fields)}


def _write_pool(folder: Path, exam: Exam, parts: Sequence[Sequence[Mapping[str, Any]]]) -> None:
    content: dict[str, Any] = {
        "format": FORMAT,
        "task": exam.task,
        "seed": exam.seed,
        "pools": {name: _pool_json(pool) for name, pool in exam.pools.items()},
        "similarity": {target: dict(own) for target, own in exam.similarity.items()},
        "passes": [_pass_json(p, own) for p, own in zip(exam.passes, parts, strict=True)],
    }
    content["sha256"] = _digest(content)
    _make(folder)
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1)
    write_atomic(folder / FOLDER / f"{exam.task}.pool.json", [text + "\n"])


def _make(folder: Path) -> None:
    try:
        (folder / FOLDER).mkdir(exist_ok=True)
    except OSError as fault:
        raise UserError(
            f"cannot make {folder / FOLDER}: {fault.strerror}; make room or choose another --out"
        ) from None


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=True, sort_keys=True).encode()).hexdigest()


def _pool_json(pool: Pool) -> dict[str, Any]:
    marks = {name: getattr(pool, name).astype(int).tolist() for name in ("trained", "last", "drawn")}
    texts = {name: list(getattr(pool, name)) for name in ("owners", "ids", "prompts", "golds", "twins")}
    sampled = {target: rows.tolist() for target, rows in pool.sampled.items()}
    others: dict[str, Any] = {"places": pool.places.tolist(), "given": pool.given}
    others |= {"sampled": sampled} if sampled else {}
    if len(pool.inside):
        others["inside"] = ["".join(map(str, own.astype(int))) for own in pool.inside]
    return {**texts, **marks, "population": [list(pair) for pair in pool.population], **others}


def _pass_json(one: Pass, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "pool": one.pool,
        "method": one.method,
        "labels": list(one.labels),
        "merged": {target: list(own) for target, own in one.merged.items()},
        "coins": {target: dict(own) for target, own in one.coins.items()},
        "models": list(one.seen),
        "why": one.why,
        "failed": one.failed,
        "parts": list(parts),
    }


# -- reading -----------------------------------------------------------------------------------------------


def read_exam(folder: Path, task: str, *, given: bool = False) -> Exam:
    """Read a task's signals of a run, checking every hash.

    ``given``: whether the run's adapters, and so their held-out items, came with the data; the third format needs it.
    UserError where there are none, or a file is missing, broken or not the one that was written.
    """
    if task not in TASKS:  # it becomes part of a path, and a record may say anything
        raise unknown("task of stored signals", str(task), TASKS)
    content = _read_pool(folder, task)
    try:
        unsaid = given and content["format"] == THIRD
        pools = {name: _pool(own, unsaid) for name, own in content["pools"].items()}
        passes = [_pass(folder, p, pools) for p in content["passes"]]
        exam = Exam(task, int(content["seed"]), pools, content["similarity"], passes)
        _require_sound(exam)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as fault:
        # Its sha256 is right: it was written like this.
        why = f"{type(fault).__name__}: {fault}"[:120]
        raise UserError(
            f"{folder / FOLDER / task}.pool.json: is inconsistent ({why}); rerun compare"
        ) from None
    return exam


def _read_pool(folder: Path, task: str) -> dict[str, Any]:
    path = folder / FOLDER / f"{task}.pool.json"
    try:
        content = intake.read_json(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no signals are stored there; rerun compare to store them") from None
    except (OSError, ValueError) as fault:
        raise UserError(f"{path}: cannot be read ({fault}); restore it, or rerun compare") from None
    if not isinstance(content, dict) or content.get("format") not in (THIRD, FORMAT):
        raise UserError(f"{path}: is no {FORMAT} file; rerun compare with this prime-audit")
    if content.pop("sha256", None) != _digest(content):
        raise UserError(f"{path}: was changed after it was written (sha256); restore it, or rerun compare")
    return content


def _pool(content: Mapping[str, Any], given: bool) -> Pool:
    marks: dict[str, Any] = {n: np.array(content[n], dtype=np.bool_) for n in ("trained", "last", "drawn")}
    texts = {n: content[n] for n in ("owners", "ids", "prompts", "golds", "twins")}
    population = [(prompt, gold) for prompt, gold in content["population"]]
    sampled = {t: np.array(rows, dtype=np.int64) for t, rows in content.get("sampled", {}).items()}
    places = np.array(content.get("places", []), dtype=np.int64).reshape(-1, 2)
    given = given or content.get("given", False) is True
    inside = [np.array([c == "1" for c in own], dtype=np.bool_) for own in content.get("inside", ())]
    marks |= {"places": places, "given": given, "inside": inside}
    return Pool(**texts, **marks, population=population, sampled=sampled)


def _pass(folder: Path, content: Mapping[str, Any], pools: Mapping[str, Pool]) -> Pass:
    models, found = content["models"], dict[str, list[Any]]()
    for part in content["parts"]:
        if not _PART.fullmatch(part["file"]):
            raise ValueError(f"no name of a part: {part['file'][:40]!r}")
        tensors = _tensors(folder / FOLDER / part["file"], part["sha256"])
        for name in part["fields"]:
            found[name] = _unpacked(name, tensors[name], tensors[f"{name}.offsets"], len(models))
    columns = [found.get(name, [[] if name == "population" else ABSENT] * len(models)) for name in FIELDS]
    seen = {
        target: Observed(**dict(zip(FIELDS, own, strict=True)))
        for target, *own in zip(models, *columns, strict=True)
    }
    return Pass(
        kind=content["kind"],
        pool=content["pool"],
        method=content["method"],
        labels=content["labels"],
        merged={target: tuple(own) for target, own in content["merged"].items()},
        coins=content["coins"],
        seen=seen,
        fields=tuple(found),
        why=content["why"],
        failed=content["failed"] is True,
    )


def _tensors(path: Path, sha256: str) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        content = intake.read_bytes(path)
    except OSError as fault:
        raise UserError(f"{path}: cannot be read ({fault.strerror}); restore it, or rerun compare") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(f"{path}: was changed after it was written (sha256); restore it, or rerun compare")
    try:
        return dict(load(content))
    except SafetensorError as fault:
        raise ValueError(f"{path.name}: {fault}") from None


def _unpacked(name: str, values: np.ndarray, offsets: np.ndarray, models: int) -> list[list[np.ndarray]]:
    """Cut a field's flat values into [models] lists of one array an item."""
    if values.dtype != DTYPES[name] or values.ndim != 1 or offsets.dtype != np.int64 or offsets.ndim != 1:
        raise ValueError("numbers of another type or shape")
    if not offsets.size or offsets[0] or offsets[-1] != values.size or (np.diff(offsets) < 0).any():
        raise ValueError("offsets that do not cut the numbers")
    if (offsets.size - 1) % max(models, 1):
        raise ValueError(f"{offsets.size - 1} rows of {models} models")
    if not models:
        return []
    each = (offsets.size - 1) // models
    rows = [values[a:b] for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]
    return [rows[m * each : (m + 1) * each] for m in range(models)]


def _require_sound(exam: Exam) -> None:
    """Raise ValueError where the parts of an exam do not fit each other."""
    for name, pool in exam.pools.items():
        rows = len(pool)
        columns = (*_TEXTS, "trained", "last", "drawn", "twins")
        if wrong := [c for c in columns if len(getattr(pool, c)) != rows]:
            raise ValueError(f"pool {name}: {wrong[0]} is not one a row")
        texts = [text for column in _TEXTS for text in getattr(pool, column)]
        if not all(isinstance(text, str) for text in (*texts, *(t for own in pool.twins for t in own))):
            raise ValueError(f"pool {name}: a text is none")
        place, length = pool.places.T
        if len(pool.places) not in (0, rows) or (place < 1).any() or (place > length).any():
            raise ValueError(f"pool {name}: places that are none of a history")
        if len(pool.inside) not in (0, rows):
            raise ValueError(f"pool {name}: inside is not one a row")
        widths = {(owner, own.size) for owner, own in zip(pool.owners, pool.inside, strict=False) if own.size}
        if len(widths) > len({owner for owner, _ in widths}) or any(width % 2 for _, width in widths):
            raise ValueError(f"pool {name}: items of one sharer have other numbers of shadows, or an odd one")
        if any(r.size and not 0 <= r.min() <= r.max() < rows for r in pool.sampled.values()):
            raise ValueError(f"pool {name}: a sampled row that is not there")
    for one in exam.passes:
        _require_pass(exam, one)


def _require_pass(exam: Exam, one: Pass) -> None:
    if not isinstance(one.kind, str) or one.pool not in exam.pools:
        raise ValueError(f"a pass of kind {str(one.kind)[:40]} over pool {str(one.pool)[:40]}")
    if not one.seen:
        return
    rows, people = len(exam.pools[one.pool]), {*exam.pools[one.pool].owners} - {*one.merged}
    inside = exam.pools[one.pool].inside
    for seen in one.seen.values():
        for column in PER_ROW:
            values = getattr(seen, column)
            if values is ABSENT and column != "logprobs":
                continue
            if values is ABSENT or len(values) != rows:
                raise ValueError(f"{one.method}: not {rows} rows of {column}")
        if seen.continuations is not ABSENT:
            for told, asked in zip(seen.continuations, seen.logprobs, strict=True):
                if len(asked):
                    texts_in(told)
        if seen.shadow_nll is not ABSENT and len(inside):
            pairs = zip(seen.shadow_nll, inside, strict=True)
            if any(nll.size not in (0, own.size) for nll, own in pairs):
                raise ValueError(f"{one.method}: an item with another number of shadows")
    if one.method is None:
        if UNMERGED not in one.seen:
            raise ValueError("the base was not queried")
        return
    for target in one.seen:
        if target not in one.merged:
            raise ValueError(f"{one.method}: it lists no merged sharers for {target[:40]!r}")
        if not people <= exam.similarity.get(target, {}).keys():
            raise ValueError(f"{target[:40]!r}: not similar to everyone")
