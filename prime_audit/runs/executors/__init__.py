"""Where a run's cells are carried out: in this process, or by the workers of a Ray cluster."""

from __future__ import annotations

from dataclasses import dataclass

from prime_audit.errors import UserError, unknown
from prime_audit.io.cores import available

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
    threads: int | None = None
    """CPU threads of this process, or of each worker; None: the library's own, or a node's cores over its workers."""

    def each(self) -> int | None:
        """Threads of the process that runs models, where that is known without the cluster."""
        if self.threads is not None or self.executor == "local" or self.address or not self.workers:
            return self.threads
        return max(1, available() // self.workers)


def chosen(
    executor: str = "local",
    address: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
) -> Where:
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
    return Where(executor, address, workers, threads)
