"""Where a run's cells are carried out: in this process, or by the workers of a Ray cluster."""

from __future__ import annotations

from dataclasses import dataclass

from prime_audit.errors import UserError, unknown

EXECUTORS = ("local", "ray")


@dataclass(frozen=True)
class Where:
    """The executor; it decides no number."""

    executor: str = "local"
    """One of EXECUTORS."""
    address: str | None = None
    """Ray cluster, ``HOST:PORT``; None: ``RAY_ADDRESS``, else one on this machine, else a new one."""
    workers: int | None = None
    """The most workers; None: one per GPU, or one per node where no GPU is used."""


def chosen(executor: str = "local", address: str | None = None, workers: int | None = None) -> Where:
    """Read the command's options. Raises UserError for options that do not go together."""
    if executor not in EXECUTORS:
        raise unknown("executor", executor, EXECUTORS)
    if executor == "local":
        for word, value in (("--address", address), ("--workers", workers)):
            if value is not None:
                raise UserError(f"{word} {value}: needs --executor ray; add it, or leave {word} out")
    if workers is not None and workers < 1:
        raise UserError(f"--workers {workers}: pass a whole number of at least 1")
    if address is not None and address.startswith("ray://"):
        raise UserError(
            f"--address {address}: Ray Client is not used; start compare on a node of the cluster "
            "and pass HOST:PORT"
        )
    return Where(executor, address, workers)
