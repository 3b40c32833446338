"""From options to a plan: tasks, methods with their parameters, model, data, numbers. Nothing here imports torch."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prime_audit.audit.signals import ITEM_FIELDS, WHITE_BOX
from prime_audit.community.canaries import DESIGNS
from prime_audit.engine.privacy import Privacy, parse_privacy
from prime_audit.errors import UserError, unknown
from prime_audit.lamp.columns import read_columns
from prime_audit.lamp.source import is_world
from prime_audit.lamp.tasks import ROUGE, TASKS, Task, find_task
from prime_audit.plan.kinds import value_text
from prime_audit.plan.options import deciding, filled, spec_of
from prime_audit.plan.presets import resolved
from prime_audit.plugins import Attack, Augment, Game, Method
from prime_audit.plugins.calling import front_of
from prime_audit.plugins.loading import (
    available,
    load_attack,
    load_game,
    load_method,
    load_run_settings,
    read_params,
)
from prime_audit.settings import Settings, Watched

REFERENCE = "np"
"""The method that all others are compared with; it always runs."""

ADAPTERS = "adapters"
"""Takes a method's place in figures of the sharers' own adapters, so no method has this label."""
CANARY_PARTS = 2 * len(DESIGNS)
"""The smallest number of canaries: one of each design on each side."""


@dataclass(frozen=True)
class Part:
    """One plugin of a method, with the parameters the user typed."""

    plugin: Method
    given: tuple[tuple[str, str], ...] = ()
    """(name, text) pairs, in the order the plugin declares its parameters."""

    @property
    def label(self) -> str:
        """As typed, parameters in the plugin's order: ``prime:alpha=0.6,k=3``."""
        return self.plugin.name + (":" + ",".join(f"{k}={v}" for k, v in self.given) if self.given else "")

    def values(self, settings: Settings, task: str) -> dict[str, Any]:
        """All parameters for a task, the preset's numbers filled in."""
        return read_params(self.plugin, dict(self.given), settings, task)


@dataclass(frozen=True)
class MethodSpec:
    """A method as it runs: one way to personalise the model, and what goes in front of the prompt."""

    core: Part
    """Makes the personalised model; ``np`` where the user named a method of the prompt alone."""
    fronts: tuple[Part, ...] = ()
    """Methods of the prompt, in the order typed."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """The core, then the fronts."""
        return (self.core, *self.fronts)

    @property
    def label(self) -> str:
        """``prime:alpha=0.6+rag``; ``rag`` for ``np+rag``."""
        alone = self.core.label == REFERENCE and self.fronts
        return "+".join(p.label for p in (() if alone else (self.core,)) + self.fronts)

    def __str__(self) -> str:
        return self.label

    def augment(self, settings: Settings, task: str) -> Augment:
        """Decide what goes in front of a task's prompts: the most items, and the profile if any part uses it."""
        alone = self.core.plugin.name == REFERENCE and len(self.fronts) == 1
        made = [front_of(p.plugin, p.values(settings, task), alone=alone) for p in self.fronts]
        wordings = [a.wording for a in made if a.profile]
        return Augment(max((a.k for a in made), default=0), bool(wordings), *wordings[:1])

    def values(self, settings: Settings, task: str) -> dict[str, Any]:
        """All parameters of all parts: ``{"prime.alpha": 0.6, "rag.k": 1}``."""
        return {
            f"{p.plugin.name}.{key}": value
            for p in self.parts
            for key, value in p.values(settings, task).items()
        }


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run, decided."""

    tasks: tuple[str, ...]
    methods: tuple[MethodSpec, ...]
    """The reference first, controls last."""
    attacks: tuple[str, ...]
    games: tuple[str, ...]
    data: str
    """``world``, with sizes where they are not its own (``lamp/source.py``), or a path."""
    model: str
    encoder: str
    """Empty: the base's own mean-pooled states."""
    profiler: str
    """Empty: the data's profile texts, or a summary."""
    device: str
    dtype: str
    seed: int
    settings: Settings
    plugins: tuple[Path, ...] = ()
    strict: bool = False
    sharer_dp: Privacy | None = None
    """The privacy that sharers' adapters must satisfy; None: trained without noise."""
    against: tuple[str, ...] = (REFERENCE,)
    """Labels of the methods that all others are compared with; the reference first."""
    sharers: Path | None = None
    """Folder of sharers whose adapters were trained elsewhere; None: candidates of the data share."""
    base_adapter: Path | None = None
    """The adapter that these were trained on; None: the base as it is."""
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Role → column of plain items, where it has another name."""
    metric: str = ROUGE
    """What scores texts: a key of ``TEXT_METRICS``."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What to report of how the options were read."""

    @property
    def preset(self) -> str:
        """The preset's name."""
        return self.settings.preset

    @property
    def overrides(self) -> dict[str, Any]:
        """What ``--set`` changes: key → value."""
        return self.settings.overrides

    @property
    def time_column(self) -> None:
        """Not set: ``columns`` has it."""

    @property
    def canaries(self) -> None:
        """Not set: ``overrides`` has it."""

    def task(self, name: str) -> Task:
        """Return a task as this run scores it."""
        return TASKS[name].scored_by(self.metric)

    def reading(self) -> dict[str, Any]:
        """Return how the data are read, as keywords of ``open_data``."""
        words = ("strict", "sharers", "base_adapter", "columns")
        return {word: getattr(self, word) for word in words}

    def spec(self) -> dict[str, Any]:
        """Return all that decides the numbers, as plain JSON."""
        return {**spec_of(self), "settings": {task: self.settings.for_task(task) for task in self.tasks}}


def make_plan(**options: Any) -> Plan:
    """Check every name and number and decide the run.

    ``options`` are the keywords of ``compare()`` that decide what is run (``plan/options.py``). What is named twice is
    run once, and ``notes`` say so; of methods that do the same (``oppu,oppu:recipe=sharers``) the first is run. Raises
    UserError for anything unknown or that does not go together.
    """
    given = filled("make_plan()", options, deciding())
    files = tuple(Path(p) for p in given["plugins"])
    if (planted := given.pop("canaries")) is not None:
        given["overrides"] = [*given["overrides"], f"canaries={planted}"]
    preset, why = resolved(given["preset"], given["model"], given["overrides"])
    settings = load_run_settings(preset, given["overrides"], files)
    for key in ("preset", "overrides"):
        del given[key]
    tasks = default_tasks(given["data"]) if given["tasks"] is None else _tasks(given["tasks"])
    if not (named := words(given["methods"])):
        raise UserError("--methods: names no method; write for example --methods np,prime, or leave it out")
    typed = ",".join([REFERENCE, *named])
    specs = _distinct(parse_methods(typed, files), settings, tasks)
    specs = tuple(sorted(specs, key=lambda spec: bool(spec.core.plugin.control)))  # stable: controls last
    if ADAPTERS in {spec.label for spec in specs}:
        raise UserError(
            f"method {ADAPTERS}: figures of the sharers' own adapters have this label; rename the plugin"
        )
    asked = [load_game(game, files) for game in words(given["games"])]
    asked += _canary_games(asked, settings, tasks, given["sharers"], files)
    games = [game.name for game in asked]
    loaded = [load_attack(a, files) for a in words(given["attacks"])]
    attacks = [attack.name for attack in loaded]
    _require_texts(given["metric"], tasks)
    _require_given(given["sharers"], given["base_adapter"], given["sharer_dp"], tasks)
    _require_shadows(settings, tasks, loaded, given["sharers"])
    columns = read_columns(given["columns"], given.pop("time_column"))
    privacy, model = given["sharer_dp"], given["model"] or settings.get("model")
    read = {
        "tasks": tasks,
        "methods": specs,
        "attacks": tuple(dict.fromkeys(attacks)),
        "games": tuple(dict.fromkeys(games)),
        "model": model,
        **{key: settings.get(key) for key in ("encoder", "profiler") if given[key] is None},
        "settings": settings,
        "plugins": files,
        "sharer_dp": None if privacy is None else parse_privacy(privacy, "--sharer-dp"),
        "against": _baselines(given["against"], specs, files),
        **{key: Path(given[key]) if given[key] else None for key in ("sharers", "base_adapter")},
        "columns": columns,
        "notes": (
            *why,
            *_unread(settings, tasks, specs, [*loaded, *asked], files),
            *_notes(given, settings, files, tasks, attacks),
            *without_figures(loaded, asked),
        ),
    }
    return Plan(**{**given, **read})


def _notes(
    given: Mapping[str, Any],
    settings: Settings,
    files: Sequence[Path],
    tasks: Sequence[str],
    attacks: Sequence[str],
) -> Iterator[str]:
    """Report the names that are given twice."""
    methods, named = _split_methods(",".join(words(given["methods"]))), words(given["tasks"] or ())
    means = [_in_force(_parse_method(word, tuple(files)), settings, tasks) for word in methods]
    yield from repeated("--methods", methods, means)
    yield from repeated("--tasks", named, [find_task(t).name for t in named])
    yield from repeated("--attacks", words(given["attacks"]), attacks)
    yield from repeated("--games", words(given["games"]), words(given["games"]))


def _unread(
    settings: Settings,
    tasks: Sequence[str],
    specs: Sequence[MethodSpec],
    others: Sequence[Attack | Game],
    files: Sequence[Path],
) -> Iterator[str]:
    """Report the settings of plugins, changed by ``--set``, that no method, attack or game of the run declares."""
    watched = Watched(settings)
    parts = [part for spec in specs for part in spec.parts]
    for part in parts:
        typed = dict(part.given)
        left = replace(part.plugin, params=tuple(p for p in part.plugin.params if p.name not in typed))
        for task in tasks:
            read_params(left, {}, watched, task)
    read = watched.read.union(*(plugin.reads for plugin in [*(part.plugin for part in parts), *others]))
    owned = {*available("method", files), "gate", "population", "nonmember_items"}
    for name, value in settings.overrides.items():
        key = name.partition(".")[2] if name.partition(".")[0] in TASKS else name
        owner = key.partition(".")[0]
        if owner in owned and not {key, owner} & read:
            yield (
                f"note: --set {name}={value_text(value)} has no effect: no method, attack or game of this run reads it"
            )


def repeated(option: str, typed: Sequence[str], means: Sequence[Hashable]) -> Iterator[str]:
    """Report each word of an option that means the same as one before it."""
    first: dict[Hashable, str] = {}
    for word, meant in zip(typed, means, strict=True):
        before = first.get(meant)
        first.setdefault(meant, word)
        if before is not None:
            how = "is named twice" if word == before else f"is the same as {before}"
            yield f"note: {option}: {word} {how}; it runs once"


def _require_texts(metric: str, tasks: Sequence[str]) -> None:
    """Refuse a metric of texts where no task has texts."""
    if metric != ROUGE and not any(TASKS[task].kind == "generation" for task in tasks):
        raise UserError(
            f"--metric {metric}: scores texts, and the answers of {', '.join(tasks)} are labels; leave it out"
        )


def _require_given(
    sharers: str | Path | None, base: str | Path | None, privacy: str | None, tasks: Sequence[str]
) -> None:
    """Refuse options that contradict adapters trained elsewhere, or need them."""
    if sharers is None:
        if base is not None:
            raise UserError(f"--base-adapter {base}: needs --sharers, whose adapters were trained on it")
        return
    if privacy is not None:
        raise UserError(
            "--sharer-dp: the adapters of --sharers are trained already; leave one of the two out"
        )
    from prime_audit.lamp.given import require_layout

    require_layout(Path(sharers), tasks)


def without_figures(attacks: Sequence[Attack], games: Sequence[Game]) -> Iterator[str]:
    """Report attacks whose signals none of the games has: their figures are n/a."""
    for kind, fields, able in (
        ("queries single adapters", WHITE_BOX, any(getattr(game.queries, "single", False) for game in games)),
        ("asks about single items", ITEM_FIELDS, not all(game.design.of_people for game in games)),
    ):
        for attack in dict.fromkeys(a.name for a in attacks if set(a.needs) & set(fields)):
            if not able:
                yield f"note: --attacks: none of these games {kind}: {attack} has no figure"


def _canary_games(
    games: Sequence[Game],
    settings: Settings,
    tasks: Sequence[str],
    sharers: str | Path | None,
    files: Sequence[Path],
) -> list[Game]:
    """Return the games for canaries where there are some; refuse the games without them, and wrong numbers."""
    counts = {task: settings.get("canaries", task) for task in tasks}
    for task, count in counts.items():
        if count % CANARY_PARTS:
            raise UserError(
                f"{task}: {count} canaries a sharer do not divide into three designs of two halves; give a multiple "
                f"of {CANARY_PARTS}, for example --canaries {count + CANARY_PARTS - count % CANARY_PARTS}"
            )
    planting = [game for game in games if _plants(game)]
    if any(counts.values()):
        every = [load_game(name, files) for name in available("game", files)]
        planting += [game for game in every if _plants(game)]
    for task, count in counts.items():
        if planting and not count:
            raise UserError(
                f"game {planting[0].name}: {task} has no canaries to ask for; add --canaries 12, or leave the game out"
            )
    if sharers is not None and any(counts.values()):
        raise UserError("--canaries: the adapters of --sharers are trained already; leave one of the two out")
    return planting


def _plants(game: Game) -> bool:
    return bool(getattr(game.queries, "plants", False))


def _require_shadows(
    settings: Settings, tasks: Sequence[str], attacks: Sequence[Attack], sharers: str | Path | None
) -> None:
    """Refuse shadow adapters that cannot be trained, and attacks that need them where there are none."""
    for task in tasks:
        count = settings.get("shadows", task)
        if count and sharers is not None:
            raise UserError(
                "--set shadows: how the adapters of --sharers were trained is not known, so their shadows cannot be "
                "trained; leave one of the two out"
            )
        if count % 2:
            raise UserError(
                f"--set shadows={count}: pass an even number; each item is in exactly half of the shadow adapters"
            )
        need = [attack.name for attack in attacks if set(attack.needs) & set(ITEM_FIELDS)]
        if need and not count:
            how = (
                "leave it out"
                if sharers is not None
                else "run compare with --set shadows=16, or leave it out"
            )
            raise UserError(
                f"attack {need[0]}: compares shadow adapters, and there are none for {task} (shadows = 0); {how}"
            )


def _baselines(
    against: str | Sequence[str], specs: Sequence[MethodSpec], files: Iterable[Path]
) -> tuple[str, ...]:
    """Read the labels that others are compared with; each must be among the methods."""
    run = {s.label for s in specs}
    asked = [s.label for s in parse_methods(",".join([REFERENCE, *words(against)]), files)]
    for label in asked:
        if label not in run:
            raise unknown("method to compare with (--against)", label, run)
    return tuple(asked)


def _tasks(text: str | Sequence[str]) -> tuple[str, ...]:
    if not (named := words(text)):
        raise UserError("--tasks: names no task; write for example --tasks LaMP-2, or leave it out")
    return tuple(dict.fromkeys(find_task(t).name for t in named))


def _distinct(
    specs: Sequence[MethodSpec], settings: Settings, tasks: Sequence[str]
) -> tuple[MethodSpec, ...]:
    """Keep the first of methods whose parts have the same parameters in force."""
    kept: dict[Hashable, MethodSpec] = {}
    for spec in specs:
        kept.setdefault(_in_force(spec, settings, tasks), spec)
    return tuple(kept.values())


def _in_force(spec: MethodSpec, settings: Settings, tasks: Sequence[str]) -> Hashable:
    """Return all that a method does: its parts with the parameters in force."""
    return tuple(sorted(repr((p.plugin.name, [p.values(settings, t) for t in tasks])) for p in spec.parts))


def default_tasks(data: str) -> tuple[str, ...]:
    """Return the tasks that run by default: LaMP-2 and LaMP-4 of the world, else the one task of the data."""
    if is_world(data):
        return ("LaMP-2", "LaMP-4")
    from prime_audit.lamp.readers import task_of

    return (task_of(Path(data)).name,)


def parse_methods(text: str, files: Iterable[Path] = ()) -> tuple[MethodSpec, ...]:
    """Parse ``np,prime:alpha=0.6,k=3+rag:k=2,perpcs``; a comma before ``key=value`` continues the parameters."""
    specs: list[MethodSpec] = []
    for word in _split_methods(text):
        spec = _parse_method(word, tuple(files))
        if spec.label not in {s.label for s in specs}:
            specs.append(spec)
    return tuple(specs)


def label_parts(label: str) -> list[str]:
    """Split a label: ``prime:alpha=0.6+rag`` -> ``["prime:alpha=0.6", "rag"]``."""
    return re.split(r"\+(?=[A-Za-z_])", label)


def _split_methods(text: str) -> list[str]:
    words: list[str] = []
    for piece in (p.strip() for p in text.split(",")):
        if words and "=" in piece and ":" not in piece.partition("=")[0]:
            words[-1] += f",{piece}"
        elif piece:
            words.append(piece)
    return words


def _parse_method(word: str, files: tuple[Path, ...]) -> MethodSpec:
    parts = [_parse_part(p, files) for p in label_parts(word)]
    cores = [p for p in parts if p.plugin.personalise]
    if len(cores) > 1:
        raise UserError(
            f"method {word}: {cores[0].label} and {cores[1].label} both make a model; join one with rag or pag"
        )
    core = cores[0] if cores else Part(load_method(REFERENCE))
    return MethodSpec(core, tuple(p for p in parts if not p.plugin.personalise))


def _parse_part(text: str, files: tuple[Path, ...]) -> Part:
    name, _, params = text.partition(":")
    given: dict[str, str] = {}
    for pair in filter(None, params.split(",")):
        key, equals, value = pair.partition("=")
        if not equals or not value:
            raise UserError(f"method {text}: write parameters as key=value, for example prime:alpha=0.6,k=3")
        if key in given:
            raise UserError(f"method {text}: {key} is given twice; give it once")
        given[key.strip()] = value.strip()
    plugin = load_method(name.strip(), files)
    order = [p.name for p in plugin.params]
    # One order, one label: the same method typed in two ways is one. Unknown names are refused by read_params.
    pairs = sorted(given.items(), key=lambda pair: order.index(pair[0]) if pair[0] in order else len(order))
    return Part(plugin, tuple(pairs))


def words(value: str | Sequence[str]) -> list[str]:
    """Split names given as ``a,b``, or as a sequence of such texts."""
    texts: Sequence[str] = [value] if isinstance(value, str) else value
    return [w.strip() for text in texts for w in text.split(",") if w.strip()]
