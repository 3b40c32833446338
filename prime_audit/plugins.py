"""The contracts of methods and attacks, and the one door they come through.

A plugin is one short file whose stem is its name. It is found by entry point (groups ``prime_audit.methods`` and
``prime_audit.attacks``, whose value is a package of such files, or one such file) or given by ``--plugin FILE``.
Names are listed from file names and docstrings alone; only the plugin asked for is imported.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from prime_audit.errors import PartError, UserError, in_a_line, unknown
from prime_audit.lamp.tasks import TASKS
from prime_audit.settings import BOUNDS, Reader, load_settings, parse_like, require_bounds

if TYPE_CHECKING:
    import numpy as np

    from prime_audit.audit.auc import FloatArray
    from prime_audit.audit.signals import Signals
    from prime_audit.community.build import Community
    from prime_audit.engine.bank import Mixture
    from prime_audit.engine.batches import Tick
    from prime_audit.engine.engine import Engine
    from prime_audit.lamp.tasks import Task
    from prime_audit.settings import Settings

Kind = Literal["method", "attack"]
FAULTS = (Exception, SystemExit)
"""What a plugin may fail by; ``sys.exit`` in one is no reason for a run to end, and say nothing."""


@dataclass(frozen=True)
class Param:
    """One parameter of a method, set as ``name:key=value``."""

    name: str
    """What the user types."""
    default: Any
    """Its value when not given; a string ``preset:KEY`` reads the preset's number for the task."""
    help: str
    """One line: what it does, its unit."""
    choices: tuple[str, ...] = ()
    """The allowed words, where it is one of few."""
    bounds: tuple[float, float] | None = None
    """Least and most; by default a preset number's own, and 1 for whole numbers."""


@dataclass(frozen=True)
class Augment:
    """What goes in front of the prompt."""

    k: int = 0
    """Retrieved history items."""
    profile: bool = False
    """Whether the profile text stands in front."""
    wording: str = "given"
    """``given``: the text that the run found or made; ``reworded``: the summary by counting, in other words."""


@dataclass(frozen=True)
class Personal:
    """One target's personalised model."""

    mixture: Mixture
    """Over the engine's bank; the empty mixture is the adapted base."""
    sharers: tuple[str, ...] = ()
    """The sharers whose adapters were merged: the members of a membership game. Empty: nobody."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What the record keeps: weights, search trace; plain JSON."""


@dataclass(frozen=True)
class Scene:
    """Everything a method may use to personalise the targets of one task."""

    task: Task
    engine: Engine
    community: Community
    settings: Settings
    seed: int
    stage: Callable[[str, int], AbstractContextManager[Tick]]
    """``with scene.stage("search", steps) as tick`` shows progress."""


@dataclass(frozen=True)
class Method:
    """A method: a way to personalise the model, or something in front of the prompt."""

    name: str
    summary: str
    source: str
    params: tuple[Param, ...]
    personalise: Callable[..., dict[str, Personal]] | None
    """(scene, **params) → one Personal per target id; None for a method of the prompt alone."""
    augment: Callable[..., Augment] | None
    """(alone, **params) → what goes in front; None for a method of the model alone."""
    version: int = 1
    """Raised when its numbers change: leaderboards refuse records of an older version."""


@dataclass(frozen=True)
class Attack:
    """A membership-inference attack: signals in, one score an item out, higher = member."""

    name: str
    summary: str
    source: str
    needs: tuple[str, ...]
    """Fields of ``Signals`` it reads; only those are computed."""
    score: Callable[[Signals], np.ndarray]
    people: bool = False
    """Whether it scores people, each of whose items has her score: it says nothing where items are members."""
    version: int = 1
    """Raised when its numbers change: leaderboards refuse records of an older version."""


@dataclass(frozen=True)
class Listed:
    """A plugin as found, not yet imported."""

    name: str
    module: str
    """Dotted module, or the file given by ``--plugin``."""
    origin: str
    """The distribution or file it comes from."""
    summary: str
    """First line of its docstring."""
    version: int | None
    """As written in its mark; None where the file cannot be read, or no number stands there."""


F = TypeVar("F", bound=Callable[..., Any])


def method(
    *, source: str, params: Sequence[Param] = (), augments: bool = False, version: int = 1
) -> Callable[[F], F]:
    """Mark the file's function as a method: ``personalise(scene, **params)``, or ``augment(alone, **params)``."""

    def mark(function: F) -> F:
        roles = (
            {"augment": function, "personalise": None}
            if augments
            else {"augment": None, "personalise": function}
        )
        summary = _first_line(function.__doc__)
        function.plugin = Method("", summary, source, tuple(params), **roles, version=version)  # type: ignore[attr-defined]
        return function

    return mark


def attack(*, source: str, needs: Sequence[str], people: bool = False, version: int = 1) -> Callable[[F], F]:
    """Mark the file's function as an attack: ``score(signals) -> float array [items]``, higher = member."""

    def mark(function: F) -> F:
        summary = _first_line(function.__doc__)
        function.plugin = Attack("", summary, source, tuple(needs), function, people, version)  # type: ignore[attr-defined]
        return function

    return mark


def available(kind: Kind, files: Iterable[Path] = ()) -> dict[str, Listed]:
    """List the plugins of a kind by name, without importing any; UserError where two share a name."""
    found: dict[str, Listed] = {}
    for one in [*_from_entry_points(kind), *_from_files(kind, files)]:
        if one.name in found and found[one.name].module != one.module:
            raise UserError(
                f"{kind} {one.name!r} comes from both {found[one.name].origin} and {one.origin}; "
                "uninstall or rename one"
            )
        found[one.name] = one
    return dict(sorted(found.items()))


def load_method(name: str, files: Iterable[Path] = ()) -> Method:
    """Import one method by name; UserError for an unknown name or a file that does not import."""
    plugin = _load("method", name, files)
    assert isinstance(plugin, Method)
    return plugin


def load_attack(name: str, files: Iterable[Path] = ()) -> Attack:
    """Import one attack by name; UserError for an unknown name or a file that does not import."""
    from prime_audit.audit.signals import FIELDS

    plugin = _load("attack", name, files)
    assert isinstance(plugin, Attack)
    for need in plugin.needs:
        if need not in FIELDS:
            raise unknown(f"signal that attack {name} needs", need, FIELDS)
    return plugin


def models_of(method: Method, scene: Scene, values: Mapping[str, Any]) -> dict[str, Personal]:
    """Make every target's model with a method's parameters in force -> target id: model.

    Raises
    ------
    PartError
        Where the method fails, or returns anything else; a UserError of ours about what the user gave passes through.
    """
    assert method.personalise is not None
    try:
        made = method.personalise(scene, **values)
    except UserError:
        raise
    except FAULTS as fault:
        raise _failed("method", method.name, fault) from fault
    if not isinstance(made, dict) or not all(isinstance(p, Personal) for p in made.values()):
        raise PartError(
            f"method {method.name} must return {{target id: Personal}}; see prime-audit doctor {method.name}{_FILE}"
        )
    return made


def front_of(method: Method, values: Mapping[str, Any], *, alone: bool) -> Augment:
    """Decide what a method of the prompt puts in front; PartError where it fails."""
    assert method.augment is not None
    try:
        return method.augment(alone=alone, **values)
    except UserError:
        raise
    except FAULTS as fault:
        raise _failed("method", method.name, fault) from fault


_FILE = " [--plugin FILE]"
"""A plugin of one file is found by it alone."""


def _failed(kind: Kind, name: str, fault: BaseException) -> PartError:
    return PartError(f"{kind} {name} failed: {in_a_line(fault)}; see prime-audit doctor {name}{_FILE}")


def scores_of(attack: Attack, signals: Signals) -> FloatArray:
    """Score a game's items with what the attack declares, and check what it returns -> [items], NaN = undefined.

    Scores beyond ±1e300, the infinite ones too, become ±1e300: JSON and averages can hold them.

    Raises
    ------
    PartError
        Where the attack fails, or returns anything but one number an item.
    """
    import numpy as np

    from prime_audit.audit.signals import returned

    try:
        scores = attack.score(signals.only(attack.needs))
    except UserError:
        raise
    except FAULTS as fault:
        raise _failed("attack", attack.name, fault) from fault
    return np.clip(returned(attack.name, scores, signals.items), -1e300, 1e300)


def load_run_settings(preset: str, overrides: Sequence[str], files: Iterable[Path] = ()) -> Settings:
    """Read a preset and ``--set`` overrides, of methods' parameters too (``prime.alpha=0.6``, ``LaMP-2.rag.k=3``).

    Raises
    ------
    UserError
        As ``load_settings``, and for a value that its method refuses.
    """
    plain, methods, params = load_settings(preset), available("method", files), dict[str, Reader]()
    for text in overrides:
        for word in text.partition("=")[0].split(".")[:2]:  # METHOD.PARAM, or behind a task
            plugin = load_method(word, files) if word in methods else None
            for param in plugin.params if plugin else ():
                params[f"{word}.{param.name}"] = partial(_read_param, word, param, plain)
    return load_settings(preset, overrides, params)


def read_params(plugin: Method, given: Mapping[str, str], settings: Settings, task: str) -> dict[str, Any]:
    """Turn the typed parameters into values; behind them stand ``--set METHOD.PARAM``, then the preset's numbers."""
    known = {p.name: p for p in plugin.params}
    for key in given:
        if key not in known:
            raise unknown(f"parameter of {plugin.name}", key, known)
    return {key: _value(plugin.name, param, given.get(key), settings, task) for key, param in known.items()}


def _value(name: str, param: Param, text: str | None, settings: Settings, task: str) -> Any:
    if text is not None:
        return _read_param(name, param, settings, text, f"{name}:{param.name}={text}")
    given = settings.override(f"{name}.{param.name}", task)
    return _default(param, settings, task) if given is None else given


def _default(param: Param, settings: Settings, task: str) -> Any:
    if isinstance(param.default, str) and param.default.startswith("preset:"):
        return settings.get(param.default.removeprefix("preset:"), task)
    return param.default


def _read_param(name: str, param: Param, settings: Settings, text: str, where: str) -> Any:
    """Read a parameter's text by the type of its default (of a preset's number: the same for every task)."""
    default = _default(param, settings, next(iter(TASKS)))
    bounds = param.bounds or BOUNDS.get(str(param.default).removeprefix("preset:"))
    value = require_bounds(parse_like(text, 0 if default is None else default, where), bounds, where)
    if param.choices and value not in param.choices:
        raise unknown(f"{param.name} of {name}", value, param.choices)
    return value


def _load(kind: Kind, name: str, files: Iterable[Path]) -> Method | Attack:
    listed = available(kind, files)
    if name not in listed:
        raise unknown(kind, name, listed)
    module = _import(kind, listed[name])
    wanted = Method if kind == "method" else Attack
    marked = [v.plugin for v in vars(module).values() if isinstance(getattr(v, "plugin", None), wanted)]
    if len(marked) != 1:
        raise UserError(
            f"{kind} {name}: {listed[name].module} marks {len(marked)} functions with @{kind}; mark one"
        )
    plugin: Method | Attack = marked[0]
    return replace(plugin, name=name, summary=listed[name].summary)


def _import(kind: Kind, listed: Listed) -> Any:
    try:
        if not listed.module.endswith(".py"):
            return importlib.import_module(listed.module)
        spec = importlib.util.spec_from_file_location(f"prime_audit_plugin_{listed.name}", listed.module)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    except FAULTS as fault:
        raise UserError(
            f"{kind} {listed.name}: {listed.module} does not import: {type(fault).__name__}: {fault}"
        ) from fault


@cache
def _from_entry_points(kind: Kind) -> tuple[Listed, ...]:
    found: list[Listed] = []
    for entry in importlib.metadata.entry_points(group=f"prime_audit.{kind}s"):
        origin = entry.dist.name if entry.dist else entry.value
        for module, path in _modules(entry.value):
            found.append(Listed(module.rpartition(".")[2], module, origin, *_said(path)))
    return tuple(found)


def _modules(package: str) -> list[tuple[str, Path]]:
    """Plugin modules of an entry point's value, found without running them (its parent packages do run)."""
    try:
        spec = importlib.util.find_spec(package)
    except Exception:  # a broken third-party parent package: it must not break the list
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations is None:
        return [(package, Path(spec.origin or ""))]
    roots = list(spec.submodule_search_locations)
    names = [m.name for m in pkgutil.iter_modules(roots) if not m.name.startswith("_")]
    return [(f"{package}.{n}", p) for n in names for r in roots if (p := Path(r) / f"{n}.py").is_file()]


def _from_files(kind: Kind, files: Iterable[Path]) -> list[Listed]:
    found = []
    for path in files:
        if not path.is_file() or path.suffix != ".py":
            raise UserError(f"--plugin {path}: no such Python file")
        text = path.read_text(encoding="utf-8", errors="replace")
        marks = re.findall(r"^@(?:\w+\.)*(method|attack)\(", text, re.MULTILINE)
        if not marks:
            raise UserError(f"--plugin {path}: marks no function with @method(...) or @attack(...); mark one")
        if kind in marks:
            found.append(Listed(path.stem, str(path), str(path), *_said(path)))
    return found


def _said(path: Path) -> tuple[str, int | None]:
    """Read a file's summary and its mark's version, without running it."""
    try:
        with warnings.catch_warnings(
            action="ignore"
        ):  # Python's remarks on its style are for whoever runs it
            tree = ast.parse(path.read_text(encoding="utf-8"))
    except (
        OSError,
        SyntaxError,
        ValueError,
        MemoryError,
        RecursionError,
    ) as fault:  # the parser's, of deep nesting
        return f"(cannot be read: {type(fault).__name__})", None
    return _first_line(ast.get_docstring(tree)), _version(tree)


def _version(tree: ast.Module) -> int | None:
    """Return the ``version`` of the first mark in a file; 1 where the mark has none."""
    marks = [m for f in tree.body if isinstance(f, ast.FunctionDef) for m in f.decorator_list]
    for mark in marks:
        if isinstance(mark, ast.Call) and re.search(r"\b(method|attack)$", ast.unparse(mark.func)):
            given = next((k.value for k in mark.keywords if k.arg == "version"), ast.Constant(1))
            value = given.value if isinstance(given, ast.Constant) else None
            return value if type(value) is int else None
    return None


def _first_line(doc: str | None) -> str:
    return (doc or "").strip().partition("\n")[0]
