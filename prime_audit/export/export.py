"""``prime-audit export``: a target's model as one LoRA that plain PEFT loads on the original base.

With ``without``, the method first makes the model once more, from base and data, without one of the sharers
(``runs/unlearn.py``).

The adapter also contains what the run merged into the base's weights (base adaptation), by concatenation: rank r + Σ
r, scaling 1. The adapters come from the cache (or, if given, from their folder). Each is checked by the hash in the
run's record. Otherwise nothing is trained, and neither base nor data are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prime_audit.engine.hub import pinned
from prime_audit.errors import UserError, unknown
from prime_audit.export.card import model_card
from prime_audit.export.hub import leaderboard_entry
from prime_audit.export.module import Kept, Model, module_of
from prime_audit.folder import Run, load_run
from prime_audit.lamp.tasks import find_task
from prime_audit.lamp.world.world import require_new, staged
from prime_audit.runs.unlearn import unlearn

CARD = "README.md"
ENTRY = ".eval_results/prime-audit.yaml"
"""Where the Hub looks for entries of leaderboards: https://huggingface.co/docs/hub/eval-results."""


@dataclass(frozen=True)
class Exported:
    """The written files."""

    path: Path
    model: Model
    rank: int


def export(
    run: str | Path,
    target: str,
    method: str | None,
    out: str | Path,
    *,
    task: str | None = None,
    cache: Path | None = None,
    sharers: Path | None = None,
    base_adapter: Path | None = None,
    without: str | None = None,
    benchmark: tuple[str, str] | None = None,
    plugins: Sequence[Path] = (),
    quiet: bool = False,
) -> Exported:
    """Write a target's module of a finished run and its model card into the new folder ``out``, atomically.

    ``method`` is a label of the run, fronts and parameters included; None: its only one beside ``np``. ``task`` is
    needed where the run has several. ``cache`` is the run's; ``sharers`` and ``base_adapter`` are the current folders
    of its given adapters, if it had any. ``without``: the id of a sharer; the method makes the model again
    without them. ``benchmark``: a benchmark dataset on the Hub and its task, for whose leaderboard the folder gets an
    entry. Only this uses ``plugins``, the run's own method, and ``quiet``, whether no progress is shown.

    Raises UserError for unknown names, for a method that merges no sharers, for adapters that are missing or changed,
    and for a folder that exists.
    """
    from safetensors import SafetensorError

    from prime_audit.engine.adapters import save_adapter

    if benchmark and without is not None:
        raise UserError("--benchmark: a module made --without a sharer was not measured; leave one out")
    model = _model(load_run(run), target, method, task)
    name = model.run.record.model.name
    base, revision = pinned(
        "" if name == "mini" else name
    )  # no one else could load the packaged one by its name
    if "gguf_file" in revision:
        base = name  # the file, not its folder: a later run compares it with its own --model
    folder = Path(out)
    if without is not None:
        require_new(folder)  # before minutes of work
        where = {"cache": cache, "sharers": sharers, "base_adapter": base_adapter}
        found = unlearn(
            model.run, model.task, model.core, target, without, plugins=plugins, quiet=quiet, **where
        )
        model = replace(model, row=found.row, unlearnt=found)
    try:
        made = module_of(model, Kept(model, cache, sharers, base_adapter))
        card = model_card(model, made.rank)
        entry = leaderboard_entry(model, *benchmark) if benchmark else None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as fault:
        # Its community and settings may be any JSON.
        why = f"{type(fault).__name__}: {fault}"[:120]
        raise UserError(
            f"{model.run.path}: record.json is inconsistent ({why}); restore it or rerun compare"
        ) from fault
    try:
        with staged(folder) as draft:
            save_adapter(made, draft, base_model=base, revision=revision.get("revision", ""))
            (draft / CARD).write_text(card, encoding="utf-8")
            if entry:
                (draft / ENTRY).parent.mkdir()
                (draft / ENTRY).write_text(entry, encoding="utf-8")
    except SafetensorError as fault:  # a full disk, as the writer reports it
        raise UserError(
            f"{folder}: cannot be written ({' '.join(str(fault).split())}): free some space"
        ) from fault
    return Exported(folder, model, made.rank)


# -- which model ---------------------------------------------------------------------------------------------


def _model(run: Run, target: str, method: str | None, task: str | None) -> Model:
    record = run.record
    if "attacked" in record.spec:
        raise UserError(
            f"{run.path} contains attacks on {record.spec['attacked']}: pass the folder of that run"
        )
    chosen = _task(run, task)
    label = _method(run, method)
    rows = [row for row in run.models() if row["task"] == chosen and "game" not in row]
    failed = {str(f.method): f for f in record.failures if f.task == chosen and f.stage == "personalise"}
    # The method that built the label's module; a front alone (rag) belongs to np.
    cores = (c for c in {row["method"] for row in rows} | failed.keys() if f"{label}+".startswith(f"{c}+"))
    core = max(cores, key=len, default="np")
    own = {row["target"]: row for row in rows if row["method"] == core}
    if target not in own and core in failed:
        raise UserError(f"{run.path}: this model failed: {failed[core].line()}; fix it and rerun compare")
    if target not in own:
        raise unknown(f"target of {label} on {chosen}", target, map(str, own))
    return Model(run, chosen, label, core, own[target])


def _task(run: Run, asked: str | None) -> str:
    known = [d.task for d in run.record.data]
    if asked is None:
        if len(known) != 1:
            raise UserError(f"{run.path} has {len(known)} tasks: pass --task, one of {', '.join(known)}")
        return known[0]
    if (name := find_task(asked).name) not in known:
        raise unknown(f"task of {run.path}", name, known)
    return name


def _method(run: Run, asked: str | None) -> str:
    known = list(run.record.methods)
    if asked is None:
        others = [label for label in known if label != "np"] or known
        if len(others) != 1:
            raise UserError(f"{run.path} has several methods: pass --method, one of {'  '.join(others)}")
        return others[0]
    if asked not in known:
        raise unknown(f"method of {run.path}", asked, known)
    return asked
