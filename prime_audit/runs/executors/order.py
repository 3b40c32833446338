"""What a worker receives and must match: the plan as plain data, plugin files by content, code and versions."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prime_audit.cache.numeric import versions
from prime_audit.errors import UserError
from prime_audit.io.cores import WAITING
from prime_audit.lamp.data import Dataset
from prime_audit.plan.plan import Plan
from prime_audit.plugins.loading import Kind, available
from prime_audit.runs.provenance import code

PASSED_ON = ("HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", *WAITING)
"""Environment variables that workers take over; none is a secret."""
PATIENCE = 10.0
"""Seconds until a file written on one node must be visible on another."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """The data sent once to every worker, through Ray."""

    spec: Mapping[str, Any]
    """``Plan.spec()``."""
    plugins: tuple[tuple[str, bytes], ...]
    """(name, text) of the files passed with ``--plugin``."""
    datasets: Mapping[str, Dataset]
    """Task → its data, as the driver has read them."""
    command: str
    cache: str
    """A folder that every node can read."""
    token: tuple[str, str]
    """(name, text) of a file that the driver wrote there."""
    threads: int
    """Threads of a worker. Answers are cached by it, so every worker uses the same number."""
    environment: Mapping[str, str]
    """The driver's values of PASSED_ON."""
    place: str
    """The driver's working folder, where a model's relative path starts."""
    given: Mapping[str, Path | None]
    """Folders of ``--sharers`` and ``--base-adapter``; ``spec`` only has their names."""


def order_of(
    plan: Plan,
    datasets: Mapping[str, Dataset],
    command: str,
    cache: Path,
    token: tuple[str, str],
    threads: int,
) -> Order:
    """Serialise a run for workers."""
    return Order(
        spec=plan.spec(),
        plugins=tuple((path.name, path.read_bytes()) for path in plan.plugins),
        datasets=datasets,
        command=command,
        cache=str(cache),
        token=token,
        threads=threads,
        environment={key: os.environ[key] for key in PASSED_ON if key in os.environ},
        place=str(Path.cwd()),
        given={"sharers": plan.sharers, "base_adapter": plan.base_adapter},
    )


def plan_again(order: Order) -> Plan:
    """Rebuild the plan, with plugin files in a folder of this process; UserError where it differs from the order's."""
    from prime_audit.runs.rebuild import plan_of

    root = Path(tempfile.mkdtemp(prefix="prime-audit-plugins-"))
    files = []
    for name, text in order.plugins:
        folder = root / hashlib.sha256(text).hexdigest()
        folder.mkdir(exist_ok=True)
        files.append(folder / Path(name).name)
        files[-1].write_bytes(text)
    spec = order.spec
    plan = plan_of(spec, spec["attacks"], files, **order.given)
    if plan.spec() != spec:
        keys = [key for key in spec if plan.spec().get(key) != spec[key]]
        raise UserError(
            f"the plan comes out differently on another node ({', '.join(keys)}); use one environment on all"
        )
    return plan


def identity(plan: Plan) -> dict[str, str]:
    """Return what must be the same on all nodes: Python, prime-audit's code, the plan's plugins, libraries."""
    return {
        "python": platform.python_version(),
        "system": sys.platform,
        "prime-audit": f"{code()['version']} (source {code()['sha256'][:12]})",
        **versions(),
        **_plugins(plan),
    }


def machine(device: str) -> dict[str, str]:
    """Return what decides the last bits on this machine: device, vector unit, threads.

    ``device`` as in the plan: auto, cpu or cuda.
    """
    import torch

    from prime_audit.engine.load import pick_device

    gpu = pick_device(device).startswith("cuda")
    return {
        "device": torch.cuda.get_device_name() if gpu else f"cpu ({torch.backends.cpu.get_cpu_capability()})",
        "threads": str(torch.get_num_threads()),
    }


def _plugins(plan: Plan) -> dict[str, str]:
    """Hash the source file of every plugin that a plan uses."""
    methods = {part.plugin.name for spec in plan.methods for part in spec.parts}
    used: list[tuple[Kind, str]] = [("method", name) for name in sorted(methods)]
    used += [("attack", name) for name in plan.attacks]
    used += [("game", name) for name in plan.games]
    return {f"{kind} {name}": _source(available(kind, plan.plugins)[name].module) for kind, name in used}


def _source(module: str) -> str:
    """Hash a plugin's file: ``module`` is its dotted name, or the file itself."""
    spec = None if module.endswith(".py") else importlib.util.find_spec(module)
    file = Path(module if spec is None or spec.origin is None else spec.origin)
    return f"source {hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"


class Likeness:
    """Refuses workers that would make the numbers depend on who computed them."""

    def __init__(self, ours: Mapping[str, str]) -> None:
        """``ours``: the driver's :func:`identity`, which every worker must have."""
        self._ours = ours
        self._first: tuple[str, Mapping[str, str]] | None = None

    def __call__(self, node: str, theirs: Mapping[str, str]) -> None:
        """Raise UserError at the first difference to the driver's software, or to the first worker's machine."""
        for what, value in self._ours.items():
            if theirs.get(what) != value:
                raise UserError(
                    f"node {node}: {what} is {theirs.get(what)}, but {value} where compare was started; install the "
                    "same on all nodes"
                )
        first, model = self._first = self._first or (node, theirs)
        for what, value in model.items():
            if theirs[what] != value:
                raise UserError(
                    f"node {node}: {what} is {theirs[what]}, but {value} on node {first}: results "
                    "would depend on who computed them; use nodes of one kind"
                )


@contextmanager
def marked(cache: Path) -> Iterator[tuple[str, str]]:
    """Write a file into the cache, by which workers recognise the same folder; yields its name and text."""
    name, text = f".seen-{secrets.token_hex(8)}", secrets.token_hex(16)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        (cache / name).write_text(text, encoding="utf-8")
    except OSError as fault:
        raise UserError(f"cache {cache}: cannot be written ({fault.strerror}); pass --cache DIR") from None
    try:
        yield name, text
    finally:
        with suppress(OSError):
            (cache / name).unlink()


def require_shared(node: str, cache: Path, token: tuple[str, str]) -> None:
    """Raise UserError unless ``cache`` is the driver's own folder and this process can write to it."""
    name, text = token
    ends = time.monotonic() + PATIENCE
    while not _holds(cache / name, text):  # a network disk shows a new file a little later
        if time.monotonic() > ends:
            raise UserError(
                f"node {node}: {cache} is not the cache of the machine where compare was started; "
                "pass --cache DIR on a disk that all nodes share"
            )
        time.sleep(0.2)
    try:
        with tempfile.TemporaryDirectory(dir=cache, prefix=".seen-"):
            pass
    except OSError as fault:
        raise UserError(f"node {node}: cache {cache} cannot be written ({fault.strerror})") from None


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except OSError:
        return False
