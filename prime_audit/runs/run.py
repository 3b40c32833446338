"""A run: its folder is claimed, its plan is carried out here or on a cluster, its results are written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from prime_audit.community.store import Store, content_key
from prime_audit.engine.mixture import Spent
from prime_audit.errors import UserError
from prime_audit.folder import RECORD, Run, RunFolder, load_run, require_free, write_atomic
from prime_audit.io.terminal import say
from prime_audit.lamp.data import Dataset
from prime_audit.plan.config import CONFIG, config_text
from prime_audit.plan.plan import Plan
from prime_audit.runs.executors import Where
from prime_audit.runs.ledger import Ledger
from prime_audit.runs.perform import open_all, perform, write
from prime_audit.runs.worker import Worker


def run(
    plan: Plan,
    out: Path,
    command: str,
    *,
    cache: Path | None = None,
    quiet: bool = False,
    where: Where | None = None,
) -> Run:
    """Run a plan and write its folder. Nothing is written there before all results are complete.

    ``where`` is the executor, by default this process; it changes nothing in the record but its times.

    Raises UserError for errors in the user's input: data, model, or a folder with another run.
    """
    datasets = open_all(plan, (lambda _: None) if quiet else partial(say, err=True))
    again = _failed_before(out, plan, datasets)
    with RunFolder.claimed(out, run_key(plan, datasets), again=again) as folder:
        ledger = Ledger(quiet=quiet)
        with ledger.showing():
            if where is None or where.executor == "local":
                store = Store(cache, Spent(), tally=ledger.tally)
                record, found = perform(Worker.of(plan, datasets, store, ledger), command)
            else:
                from prime_audit.runs.executors.on_ray import perform_on_ray

                record, found = perform_on_ray(plan, datasets, cache, ledger, command, where)
        # The sign that the folder is complete is deleted first: its other files are another attempt's.
        if again:
            (folder.path / RECORD).unlink(missing_ok=True)
        write_atomic(folder.path / CONFIG, [config_text(plan)])
        write(folder, record, found)
        return Run(folder.path, record)


def require_room(plan: Plan, datasets: Mapping[str, Dataset], out: Path) -> None:
    """Raise UserError where the run could not be written to a folder: it holds another one."""
    if not _failed_before(out, plan, datasets):
        require_free(out, run_key(plan, datasets))


def run_key(plan: Plan, datasets: Mapping[str, Dataset]) -> str:
    """Hash all that decides the numbers: a folder is not used again for other data under the same path."""
    decided = {
        **plan.spec(),
        "data_sha256": {task: data.sha256 for task, data in datasets.items()},
        "plugins_sha256": [hashlib.sha256(path.read_bytes()).hexdigest() for path in plan.plugins],
    }
    return content_key(decided)


def _failed_before(out: Path, plan: Plan, datasets: Mapping[str, Dataset]) -> bool:
    """Return whether a folder has this run with failures: it is retried in place, for example after fixing a plugin."""
    if not (out / RECORD).is_file():
        return False
    try:
        record = load_run(out).record
    except UserError:  # damaged or of a newer version: the marker identifies its run
        return False
    same = json.loads(json.dumps(plan.spec())) == record.spec
    return (
        bool(record.failures)
        and same
        and {d.task: d.sha256 for d in record.data} == {task: data.sha256 for task, data in datasets.items()}
    )
