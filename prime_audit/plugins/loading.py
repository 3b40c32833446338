"""Finding and loading plugins: by entry point, or by ``--plugin FILE``.

Entry points are in the groups ``prime_audit.methods``, ``prime_audit.attacks`` and ``prime_audit.games``; the value is
a package of plugin files, or one such file. Names are listed from file names and docstrings alone; only the plugin
asked for is imported.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from prime_audit.errors import FAULTS, UserError, hint, unknown
from prime_audit.lamp.tasks import TASKS
from prime_audit.plugins.contracts import Attack, Game, Method, Param, Plugin, first_line, second_paragraph
from prime_audit.settings import SETTINGS, Reader, Settings, load_settings, parse_like, require_bounds

Kind = Literal["method", "attack", "game"]
KINDS: Mapping[Kind, type[Plugin]] = {"method": Method, "attack": Attack, "game": Game}
"""A kind's word, which is its mark and names its entry-point group, and what its mark makes."""
_MARK = "|".join(KINDS)
P = TypeVar("P", bound=Plugin)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A plugin as found, not yet imported."""

    kind: Kind
    name: str
    module: str
    """Dotted module, or the file given by ``--plugin``."""
    origin: str
    """The distribution or file it comes from."""
    summary: str
    """First line of its docstring."""
    version: int | None
    """As written in its mark; None where the file cannot be read, or it is not a plain number."""


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


def find(name: str, files: Iterable[Path] = ()) -> Listed:
    """Find a plugin of any kind by name; UserError with the nearest names where there is none."""
    paths = tuple(files)
    listed = [available(kind, paths) for kind in KINDS]
    for known in listed:
        if name in known:
            return known[name]
    raise unknown("name", name, [n for known in listed for n in known])


def kind_of(plugin: Plugin) -> Kind:
    """Name a plugin's kind."""
    return next(kind for kind, made in KINDS.items() if isinstance(plugin, made))


def load(made: type[P], name: str, files: Iterable[Path] = ()) -> P:
    """Import one plugin of this class by name; UserError for an unknown name or a file that does not import."""
    kind = next(word for word, one in KINDS.items() if one is made)
    listed = available(kind, files)
    if name not in listed:
        raise unknown(kind, name, listed)
    module = _import(kind, listed[name])
    marked = [v.plugin for v in vars(module).values() if isinstance(getattr(v, "plugin", None), made)]
    if len(marked) != 1:
        raise UserError(
            f"{kind} {name}: {listed[name].module} marks {len(marked)} functions with @{kind}; mark one"
        )
    plugin: P = replace(
        marked[0], name=name, summary=listed[name].summary, about=second_paragraph(module.__doc__)
    )
    if isinstance(plugin, Attack):
        from prime_audit.audit.signals import FIELDS  # numpy: completion lists plugins without it

        for need in plugin.needs:
            if need not in FIELDS:
                raise unknown(f"signal that attack {name} needs", need, FIELDS)
    return plugin


load_method = partial(load, Method)
load_attack = partial(load, Attack)
load_game = partial(load, Game)


@cache
def known_game(name: str | None, files: tuple[Path, ...] = ()) -> Game | None:
    """Import one game, installed or of ``files``; None where there is none of that name."""
    return load_game(name, files) if name in available("game", files) else None


def load_run_settings(preset: str, overrides: Sequence[str], files: Iterable[Path] = ()) -> Settings:
    """Read a preset and ``--set`` overrides, of methods' parameters too (``prime.alpha=0.6``, ``LaMP-2.rag.k=3``).

    UserError as ``load_settings``, and for a value that its method refuses.
    """
    plain, methods, params = load_settings(preset), available("method", files), dict[str, Reader]()
    for text in overrides:
        for word in text.partition("=")[0].split(".")[:2]:  # METHOD.PARAM, or behind a task
            plugin = load_method(word, files) if word in methods else None
            for param in plugin.params if plugin else ():
                params[f"{word}.{param.name}"] = partial(_read_param, param, plain)
    return load_settings(preset, overrides, params)


def read_params(plugin: Method, given: Mapping[str, str], settings: Settings, task: str) -> dict[str, Any]:
    """Turn the typed parameters into values; the others come from ``--set METHOD.PARAM``, then from the preset."""
    known = {p.name: p for p in plugin.params}
    for key in given:
        if key not in known:
            raise unknown(f"parameter of {plugin.name}", key, known)
    return {key: _value(plugin.name, param, given.get(key), settings, task) for key, param in known.items()}


def _value(name: str, param: Param, text: str | None, settings: Settings, task: str) -> Any:
    if text is not None:
        return _read_param(param, settings, text, f"{name}:{param.name}={text}")
    given = settings.override(f"{name}.{param.name}", task)
    return _default(param, settings, task) if given is None else given


def _default(param: Param, settings: Settings, task: str) -> Any:
    if isinstance(param.default, str) and param.default.startswith("preset:"):
        return settings.get(param.default.removeprefix("preset:"), task)
    return param.default


def _read_param(param: Param, settings: Settings, text: str, where: str) -> Any:
    """Read a parameter's text by the type of its default (of a preset's number: the same for every task)."""
    default = _default(param, settings, next(iter(TASKS)))
    setting = SETTINGS.get(str(param.default).removeprefix("preset:"))
    bounds = param.bounds or (setting.bounds if setting else None)
    value = require_bounds(parse_like(text, 0 if default is None else default, where), bounds, where)
    if param.choices and value not in param.choices:
        why = f"not allowed: {param.refused[value]}; " if value in param.refused else ""
        raise UserError(f"{where}: {why}{hint(value, param.choices)}")
    return value


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
            found.append(
                Listed(kind=kind, name=module.rpartition(".")[2], module=module, origin=origin, **_said(path))
            )
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
        marks = re.findall(rf"^@(?:\w+\.)*({_MARK})\(", text, re.MULTILINE)
        if not marks:
            _require_python(path, text)
            words = ", ".join(f"@{kind}(...)" for kind in KINDS)
            raise UserError(f"--plugin {path}: marks no function with any of {words}; mark one")
        if kind in marks:
            found.append(Listed(kind=kind, name=path.stem, module=str(path), origin=str(path), **_said(path)))
    return found


def _require_python(path: Path, text: str) -> None:
    try:
        with warnings.catch_warnings(action="ignore"):
            ast.parse(text, path.name)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as fault:
        raise UserError(f"--plugin {path}: does not import: {type(fault).__name__}: {fault}") from None


def _said(path: Path) -> dict[str, Any]:
    """Read a file's ``summary`` and its mark's ``version``, without running it."""
    try:
        # Python's remarks on its style are for whoever runs it.
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
    # The parser raises the last two, of deep nesting.
    except (OSError, SyntaxError, ValueError, MemoryError, RecursionError) as fault:
        return {"summary": f"(cannot be read: {type(fault).__name__})", "version": None}
    return {"summary": first_line(ast.get_docstring(tree)), "version": _version(tree)}


def _version(tree: ast.Module) -> int | None:
    """Return the ``version`` of the first mark in a file; 1 where the mark has none."""
    marks = [m for f in tree.body if isinstance(f, ast.FunctionDef) for m in f.decorator_list]
    for mark in marks:
        if isinstance(mark, ast.Call) and re.search(rf"\b({_MARK})$", ast.unparse(mark.func)):
            given = next((k.value for k in mark.keywords if k.arg == "version"), ast.Constant(1))
            value = given.value if isinstance(given, ast.Constant) else None
            return value if type(value) is int else None
    return None
