"""Every figure of a GPU in one command, within nine minutes.

    python tests/benchmarks/gpu.py                                # where CUDA is
    python tests/benchmarks/gpu.py --device cpu --shape toy       # a trial of the same path

Parity in fp32, then speed against PEFT and the released schedule with the hardware's ceilings beside it, then the
built-in world in fp32 and bfloat16. Each part is a process with a time limit; one that fails or takes too long is
reported, and the rest goes on. Parts that are cut leave the benchmarks that they had finished. Writes ``figures.json``
and ``figures.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
METHODS, TASKS, ATTACKS = "np,oppu,perpcs,prime", "LaMP-2", "loss,reference"
SHAPES = {"llama-2-7b": (1, 40.0), "smollm2-135m": (3, 28.0), "mini": (3, 18.0)}
"""Shapes, the most wanted first: rounds, and seconds for each of ``BENCHES``. All boxes together are nine minutes."""
_FINISHED = "PRIME_AUDIT_FINISHED"
"""Names the file that a pytest process adds its finished benchmarks to."""
BENCHES = {
    "search": "test_search_bench.py",
    "scoring": "test_scoring_bench.py",
    "training": "test_training_bench.py",
    "ceilings": "test_ceilings_bench.py",
}
CHOSEN = (
    "(test_peft_generate and LaMP-4) or (test_released and LaMP-4) or test_modules or test_sharers or test_prefill "
    "or test_decode"
)


@dataclass(frozen=True)
class Part:
    """One process."""

    name: str
    words: tuple[str, ...]
    seconds: float
    """Its share of the time; what others left over is added."""


@dataclass
class Done:
    """What came of a part."""

    name: str
    status: str
    """ok, failed, or cut."""
    seconds: float
    lines: list[str] = field(default_factory=list)
    """What it measured, in words."""
    figures: list[dict[str, Any]] = field(default_factory=list)
    """What it measured: of a benchmark, its name and what it adds; of a run, its results."""
    error: str = ""
    """The last lines of its output, where it is not ok."""


def parts(device: str, shapes: Sequence[str], out: Path) -> Iterator[Part]:
    """List all parts, the most wanted first."""
    pytest = (sys.executable, "-m", "pytest", "-p", "tests.benchmarks.gpu", "--rootdir", str(ROOT))
    small = "toy" if "toy" in shapes else "mini"
    three = [str(HERE / BENCHES[name]) for name in ("search", "scoring", "training")]
    yield Part(
        "parity in fp32, against PEFT",
        (*pytest, *three, "--benchmark-disable", "--device", device, "--shape", small, "--dtype", "float32"),
        40,
    )
    if device == "cuda":
        yield Part(
            "parity in fp32, the engine's own tests", (*pytest, str(ROOT / "tests/engine"), "-m", "gpu"), 45
        )
    for shape in shapes:
        rounds, seconds = SHAPES.get(shape, (1, 40.0))
        own = (
            "--benchmark-enable",
            "--device",
            device,
            "--shape",
            shape,
            "--rounds",
            str(rounds),
            "-k",
            CHOSEN,
        )
        for name in BENCHES:
            yield Part(f"{shape}: {name}", (*pytest, str(HERE / BENCHES[name]), *own), seconds)
    for dtype in ("float32", "bfloat16"):
        words = {"methods": METHODS, "tasks": TASKS, "attacks": ATTACKS, "device": device, "dtype": dtype}
        options = [word for key, value in words.items() for word in (f"--{key}", value)]
        compare = (
            sys.executable,
            "-m",
            "prime_audit",
            "compare",
            *options,
            "--no-cache",
            "--out",
            str(out / dtype),
        )
        yield Part(f"the world in {dtype}", compare, 50)


def run(part: Part, limit: float, out: Path) -> Done:
    """Run a part and end it, with all that it started, at its limit."""
    finished, log = out / "finished.jsonl", out / "output.txt"
    finished.unlink(missing_ok=True)
    begin = time.monotonic()
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            part.words,
            cwd=ROOT,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, _FINISHED: str(finished), "PYTHONPATH": str(ROOT)},
        )
        try:
            status = "ok" if process.wait(limit) == 0 else "failed"
        except subprocess.TimeoutExpired:
            status = "cut"
        finally:
            if process.returncode is None:  # cut, or this script itself was interrupted
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    done = Done(part.name, status, round(time.monotonic() - begin, 1))
    if finished.is_file():
        for line in finished.read_text(encoding="utf-8").splitlines():
            found = json.loads(line)
            done.lines += found.pop("lines")
            done.figures.append(found)
    if status != "ok":
        done.error = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])
    return done


def compared(done: Sequence[Done], out: Path) -> Done | None:
    """Set the two runs of the world side by side; None where one is missing."""
    records = [out / dtype / "record.json" for dtype in ("float32", "bfloat16")]
    if not all(path.is_file() for path in records):
        return None
    one, other = (json.loads(path.read_text(encoding="utf-8")) for path in records)
    keys = ("task", "method", "metric", "game", "attack")
    seen = {tuple(r[k] for k in keys): r for r in other["results"]}
    found = Done("the world: bfloat16 minus float32", "ok", 0.0)
    for r in one["results"]:
        theirs = seen.get(tuple(r[k] for k in keys))
        if (
            r["game"] not in (None, "heldout")
            or r["value"] is None
            or theirs is None
            or theirs["value"] is None
        ):
            continue
        if r["game"] and r["metric"] != "auc":
            continue
        inside = r["ci"] is None or r["ci"][0] <= theirs["value"] <= r["ci"][1]
        found.figures.append(
            {**{k: r[k] for k in keys}, "float32": r["value"], "bfloat16": theirs["value"], "inside": inside}
        )
        what = " ".join(str(r[k]) for k in keys if r[k])
        found.lines.append(
            f"{what}: {r['value']:.3f} {r['ci'] and [round(x, 3) for x in r['ci']]}, in bfloat16 {theirs['value']:.3f}"
            + ("" if inside else ", outside the interval")
        )
    seconds = [d.seconds for d in done if d.name.startswith("the world in ")]
    found.lines.append(f"seconds: {', in bfloat16 '.join(f'{s:.0f}' for s in seconds)}")
    return found


def where(device: str) -> str:
    """Name the hardware and what computes on it."""
    name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {os.cpu_count()} cores"
    return f"{name}, torch {torch.__version__}, {time.strftime('%F')}"


def markdown(title: str, done: Sequence[Done]) -> str:
    """Write one table of the parts and one of all lines."""
    rows = ["| Part | Status | Seconds |", "|---|---|---|"]
    rows += [f"| {d.name} | {d.status} | {d.seconds:.0f} |" for d in done]
    figures = ["| Part | Measured |", "|---|---|"]
    figures += [f"| {d.name} | {line.strip().replace('|', '/')} |" for d in done for line in d.lines]
    errors = [f"### {d.name}: {d.status}\n\n```text\n{d.error}\n```" for d in done if d.error]
    return "\n\n".join([f"# {title}", "\n".join(rows), "\n".join(figures), *errors]) + "\n"


def main() -> int:
    """Run all parts and write what they found; the exit code is 1 where a part is not ok."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cuda", "cpu")
    )
    parser.add_argument("--shape", action="append", help="only this shape; repeatable")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--out", type=Path, default=Path("gpu-figures"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * given.minutes - 5
    runs = Path(tempfile.mkdtemp(prefix="runs-", dir=given.out.resolve()))  # none of an earlier call
    every = list(parts(given.device, given.shape or list(SHAPES), runs))
    done: list[Done] = []
    spare = end - time.monotonic() - sum(p.seconds for p in every)
    for part in every:
        limit = min(part.seconds + max(0.0, spare), end - time.monotonic())
        done.append(run(part, limit, given.out.resolve()) if limit > 1 else Done(part.name, "cut", 0.0))
        spare += part.seconds - done[-1].seconds
        print(f"{done[-1].name}: {done[-1].status}, {done[-1].seconds:.0f} s", flush=True)
        if both := compared(done, runs) if part is every[-1] else None:
            done.append(both)
        title = where(given.device)
        content = {"where": title, "parts": [asdict(d) for d in done]}
        (given.out / "figures.json").write_text(json.dumps(content, indent=1, default=str), encoding="utf-8")
        (given.out / "figures.md").write_text(markdown(title, done), encoding="utf-8")
    print((given.out / "figures.md").read_text(encoding="utf-8"))
    return int(any(d.status != "ok" for d in done))


# -- in each pytest process: every benchmark is written as it ends, so that a cut loses only the last -----------------

_written: list[str] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Generator[None, Any, Any]:
    """Write a finished test's outcome, the numbers of its benchmark, and the lines that it adds to the board."""
    report = yield
    if call.when == "call" and (path := os.environ.get(_FINISHED)):
        benchmark = item.funcargs.get("benchmark")
        timed = benchmark is not None and not benchmark.disabled
        lines = (
            item.funcargs.get("board", [])[len(_written) :] if timed else [f"{item.name}: {report.outcome}"]
        )
        _written.extend(lines if timed else [])
        entry = {"test": item.name, "outcome": report.outcome, "seconds": report.duration}
        entry |= {"found": dict(benchmark.extra_info) if timed else {}, "lines": lines}
        with Path(path).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry, default=str) + "\n")
    return report


if __name__ == "__main__":
    sys.exit(main())
