"""Fuzz the readers: ``python -m tests.fuzz [--minutes M] [--seed N] [--only NAME] [--atheris NAME]``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .attempt import Find, Target


def main() -> int:
    """Share the time among the readers, print what came of each, and write every find's input to ``--finds``."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="For all readers together.")
    parser.add_argument("--runs", type=int, help="Tries of each reader, in place of a time: deterministic.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="NAME", help="One reader.")
    parser.add_argument("--finds", type=Path, help="Folder for the inputs of finds.")
    parser.add_argument(
        "--atheris", action="store_true", help="Drive --only by atheris (extra fuzz), for --minutes."
    )
    asked = parser.parse_args()
    bound_memory()
    with watched(asked.atheris):  # atheris sees what is imported from here on
        from .catalog import all_targets
        from .fuzzer import fuzz
    with tempfile.TemporaryDirectory() as aside:
        found = [t for t in all_targets(Path(aside) / "seeds") if asked.only in (None, t.name)]
        if asked.atheris:
            by_atheris(found[0], Path(aside), 60 * asked.minutes)
        each = 60 * asked.minutes / len(found)
        finds: list[Find] = []
        for target in found:
            limit = 1e9 if asked.runs else each
            tally = fuzz(target, Path(aside) / "try", seed=asked.seed, runs=asked.runs, seconds=limit)
            print(tally, flush=True)
            for find in tally.finds:
                print(f"  {find.kind} at {find.place}: {find.said}\n    {find.data[:300]!r}", flush=True)
            finds += tally.finds
        kept(finds, asked.finds)
    return 1 if finds else 0


def watched(by_atheris: bool) -> Any:
    """Let atheris instrument the package as it is imported."""
    if not by_atheris:
        return nullcontext()
    import atheris

    return atheris.instrument_imports(include=["prime_audit", "prime_attacks", "prime_baselines"])


def kept(finds: list[Find], folder: Path | None) -> None:
    """Write the inputs of finds."""
    for number, find in enumerate(finds) if folder else ():
        assert folder is not None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:03d}-{find.target.replace(' ', '-')}").write_bytes(find.data)


def bound_memory(most: int = 12 << 30) -> None:
    """Make this process fail, not the machine, where a reader asks for far too much."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def by_atheris(target: Target, aside: Path, seconds: float) -> None:
    """Give a reader to atheris, which ends the process; the seeds are its corpus."""
    import atheris

    from .attempt import Find, attempt

    corpus = aside / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(target.seeds):
        (corpus / f"{number}").write_bytes(seed)

    def once(data: bytes) -> None:
        said = attempt(target, data, aside / "try")
        if isinstance(said, Find):
            raise AssertionError(f"{said.kind} at {said.place}: {said.said}")

    atheris.Setup([sys.argv[0], str(corpus), f"-max_total_time={int(seconds)}", "-max_len=65536"], once)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
