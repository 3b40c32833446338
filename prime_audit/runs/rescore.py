"""``prime-audit attack``: score attacks on a finished run's stored signals; the model only computes missing ones.

The original record is never changed. The results are a new record, with the run's utility and costs and the new
leakage results. It is written to ``RUN/attacks-<hash>/`` (hash of the run, attacks, games and plugin files) or to
``--out``. Newly observed signals are added to the run's ``signals`` folder.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from prime_audit import faults
from prime_audit.audit.auc import Undefined
from prime_audit.audit.verdict import EDITION
from prime_audit.community.store import content_key
from prime_audit.errors import UserError, unknown
from prime_audit.folder import RECORD, SCORES, VULNERABILITY, Run, RunFolder, load_run
from prime_audit.games.exam.play import rounds
from prime_audit.games.exam.queries import queries_of
from prime_audit.games.exam.stored import FOLDER, Exam, add_fields, read_exam
from prime_audit.io.terminal import say
from prime_audit.lamp.tasks import TASKS
from prime_audit.plan.plan import repeated, without_figures, words
from prime_audit.plugins import Attack, Game
from prime_audit.plugins.loading import available, load_attack, load_game
from prime_audit.record import Record
from prime_audit.report.from_record import render_all
from prime_audit.report.sheet import is_leakage
from prime_audit.runs.findings import BEYOND, Findings
from prime_audit.runs.ledger import Ledger
from prime_audit.runs.provenance import code, code_since, plugins_of


def attack(
    run: str | Path,
    attacks: str | Sequence[str],
    *,
    games: str | Sequence[str] | None = None,
    plugins: Iterable[str | Path] = (),
    out: str | Path | None = None,
    cache: Path | None = None,
    sharers: Path | None = None,
    base_adapter: Path | None = None,
    quiet: bool = False,
) -> Run:
    """Score ``attacks`` on the finished run in a folder, write what was found to a folder of its own, and return it.

    ``games`` are by default the run's; one that it did not play needs another ``compare``. ``plugins``: Python files
    with attacks and games, and with the run's own methods where models must be remade. ``out`` is by default
    ``attacks-<hash>`` in the run's folder. ``cache`` has trained adapters and is used only where signals are missing.
    ``sharers`` and ``base_adapter``: current folders of the run's given adapters, if not where its record says.
    UserError for anything the caller can fix, in one line.
    """
    origin, files = load_run(run), tuple(Path(p) for p in plugins)
    if "attacked" in origin.record.spec:
        raise UserError(
            f"{run} contains attacks on {origin.record.spec['attacked']}: pass the folder of that run"
        )
    _require_spec(origin)
    chosen = [load_attack(name, files) for name in dict.fromkeys(words(attacks))]
    if not chosen:
        raise UserError("--attacks: pass at least one")
    played = _games(origin, games, files)
    for option, named in () if quiet else (("--attacks", words(attacks)), ("--games", words(games or ()))):
        for note in repeated(option, named, named):
            say(note, err=True)
    for note in () if quiet else without_figures(chosen, played):
        say(note, err=True)
    spec = {
        **origin.record.spec,
        "attacks": [a.name for a in chosen],
        "games": [g.name for g in played],
        "plugins": [p.name for p in files],
        "attacked": str(run),
        "attacked_sha256": _sha256(origin.path / RECORD),
        "plugins_sha256": [_sha256(path) for path in files],
    }
    key = content_key({k: v for k, v in spec.items() if k != "attacked"})
    place = Path(out) if out else origin.path / f"attacks-{key[:12]}"
    for folder_ in (origin.path / FOLDER, place):
        if folder_.is_symlink():  # in a folder from someone else it may lead to another place
            raise UserError(f"{folder_} is a link: delete it, or pass its target folder with --out")
    with RunFolder.claimed(place, key) as folder:
        given = {"cache": cache, "sharers": sharers, "base_adapter": base_adapter}
        return _attack(origin, chosen, played, spec, files, folder, given, Ledger(quiet=quiet))


def _require_spec(origin: Run) -> None:
    """Refuse an invalid specification: its tasks name files."""
    spec, where = origin.record.spec, origin.path / RECORD
    for key in ("tasks", "games"):
        names = spec.get(key)
        if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
            raise UserError(f"{where}: spec names no {key}; the record is damaged; rerun compare")
    for name in spec["tasks"]:
        if name not in TASKS:
            raise UserError(f"{where}: {unknown('entry of spec.tasks', name, TASKS)}")


def _attack(
    origin: Run,
    attacks: Sequence[Attack],
    games: Sequence[Game],
    spec: Mapping[str, Any],
    files: Sequence[Path],
    folder: RunFolder,
    given: Mapping[str, Path | None],
    ledger: Ledger,
) -> Run:
    began, elsewhere = code(), bool(origin.record.spec.get("sharers"))
    exams = {task: read_exam(origin.path, task, given=elsewhere) for task in spec["tasks"]}
    for task, exam in exams.items():
        kinds = {p.kind for p in exam.passes if p.method is not None}
        if lacking := [game.name for game in games if queries_of(game).name not in kinds]:
            raise UserError(
                f"{origin.path / FOLDER / task}.pool.json: holds no signals of game {lacking[0]}; rerun compare"
            )
    exams = _completed(origin, exams, attacks, games, files, given, ledger)
    found = Findings()
    with ledger.showing():
        for task, exam in exams.items():
            try:
                found.take_all(task, rounds(exam, games, attacks, partial(ledger.stage, task, total=0)))
            except Undefined as why:  # a ValueError, but of a figure: the signals fit together
                raise UserError(f"{origin.path / FOLDER}: {task}: {why}") from why
            except (
                KeyError,
                ValueError,
            ) as fault:  # a run's own signals fit together, so these come from elsewhere
                raise UserError(
                    f"{origin.path / FOLDER}: the signals of {task} do not fit together "
                    f"({fault}); rerun compare"
                ) from fault
    plugins, judged = plugins_of([*attacks, *games], files), code_since(began)
    found.warn("games", _changed(games, origin.record.plugins, plugins))
    record = _record(origin.record, found, spec, plugins, _command(spec, files), ledger)
    record = replace(
        record, code={**record.code, **{f"judged_{name}": value for name, value in judged.items()}}
    )
    folder.write_jsonl(SCORES, found.scores)
    if found.vulnerable:
        folder.write_jsonl(VULNERABILITY, found.vulnerable)
    faults.write(folder, found.faults)
    render_all(record, folder.path)
    folder.write_record(record)
    return Run(folder.path, record)


def _completed(
    origin: Run,
    exams: dict[str, Exam],
    attacks: Sequence[Attack],
    games: Sequence[Game],
    files: Sequence[Path],
    given: Mapping[str, Path | None],
    ledger: Ledger,
) -> dict[str, Exam]:
    """Run the model for signals that are not stored, and store them beside the others."""
    needs, ways = {n for a in attacks for n in a.needs}, {queries_of(g) for g in games}
    kinds, single = {way.name for way in ways}, {way.name for way in ways if way.single}
    lacking = {task: fields for task, exam in exams.items() if (fields := exam.lacking(needs, kinds, single))}
    if not lacking:
        return exams
    names = ", ".join(dict.fromkeys(f for fields in lacking.values() for f in fields))
    ledger.note(f"not stored: {names}; rebuilding the run's models to observe them")
    from prime_audit.runs.rebuild import observe_again, plan_of

    spec, known, folders = origin.record.spec, available("game", files), dict(given)
    cache = folders.pop("cache")
    # Games of the run whose plugin is gone are not asked for: `_games` refuses them.
    left = [name for name in spec["games"] if name in known]
    plan = plan_of({**spec, "games": left}, [a.name for a in attacks], files, **folders)
    later = observe_again(origin, {task: exams[task] for task in lacking}, plan, cache, ledger)
    return {
        task: add_fields(origin.path, exam, later[task], lacking[task]) if task in lacking else exam
        for task, exam in exams.items()
    }


def _games(origin: Run, games: str | Sequence[str] | None, files: Sequence[Path]) -> list[Game]:
    """Load the games asked for (all of the run); the run's others may be gone."""
    played, command, known = origin.record.spec["games"], origin.record.command, available("game", files)
    found = []
    for name in dict.fromkeys(words(games or played)):
        if name in played and name not in known:
            raise UserError(
                f"{origin.path / RECORD}: {unknown('entry of spec.games', name, known)}; a plugin's file is given by "
                "--plugin FILE; --games leaves it out"
            )
        found.append(load_game(name, files))
        if name not in played:
            raise UserError(
                f"game {name} was not played in {origin.path}, which holds no signals for it: {command} --games "
                f"{','.join([*played, name])} --out ANOTHER computes them (instead of the --games given there)"
            )
    return found


def _record(
    old: Record,
    found: Findings,
    spec: Mapping[str, Any],
    plugins: Mapping[str, Mapping[str, Any]],
    command: str,
    ledger: Ledger,
) -> Record:
    """Keep the run's data and utility, and replace its leakage results and the ``plugins`` that they come from."""
    return replace(
        old,
        command=command,
        spec=spec,
        results=(*(r for r in old.results if not is_leakage(r.metric)), *found.results),
        comparisons=(*(c for c in old.comparisons if not is_leakage(c.metric)), *found.comparisons),
        leaks=found.settled(),
        rules=EDITION,
        vulnerable=found.most_vulnerable(),
        # Their tracebacks are in the attacked run's folder; the same names here mean other errors.
        failures=(*(replace(f, file=None) for f in old.failures if f.attack is None), *found.faults.found),
        times=ledger.times(),
        plugins={**old.plugins, **plugins},
        warnings=tuple(
            dict.fromkeys([*(line for line in old.warnings if BEYOND not in line), *found.warned()])
        ),
    )


def _changed(games: Sequence[Game], old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Say which games have another version or file than in the run."""
    for name in (f"game {game.name}" for game in games):
        was, now = old.get(name), new[name]
        if was and any(was.get(key) != now.get(key) for key in ("version", "sha256")):
            yield f"{name} differs from the run's (version or sha256): it is played and judged as it is now"


def _command(spec: Mapping[str, Any], files: Sequence[Path]) -> str:
    said = ["prime-audit", "attack", spec["attacked"], "--attacks", ",".join(spec["attacks"])]
    said += ["--games", ",".join(spec["games"]), *(w for path in files for w in ("--plugin", str(path)))]
    return shlex.join(said)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
