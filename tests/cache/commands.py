"""Whole commands in processes of their own, and a look at what they left."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from prime_audit.engine.lora import Adapter

SERVER = Path(__file__).with_name("server.py")


@dataclass
class Started:
    """A command that runs, or has run."""

    server: Server
    pid: int
    log: Path
    code: int | None = None

    def wait(self) -> int:
        """Return its exit code; minus the signal's number where one killed it."""
        if self.code is None:
            self.code = int(self.server.ask({"wait": self.pid})["code"])
        return self.code

    def kill(self, signal: int) -> None:
        """Send a signal."""
        os.kill(self.pid, signal)

    @property
    def said(self) -> str:
        """What it printed."""
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""

    @property
    def lines(self) -> list[str]:
        """What it said in the command's own name."""
        return [line for line in self.said.splitlines() if line.startswith("prime-audit: ")]


class Server:
    """Runs commands in forked processes."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        self._process = subprocess.Popen(
            [sys.executable, str(SERVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def ask(self, words: dict[str, Any]) -> dict[str, Any]:
        """Put one question."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))

    def start(self, *words: object, limit: int | None = None, dies: str | None = None) -> Started:
        """Start a command and return at once.

        ``limit``: bytes beyond which no file of it grows; ``dies``: the name of the point (``server.POINTS``) at which
        it is killed.
        """
        self._count += 1
        log = self._folder / f"{self._count}.log"
        asked = {"start": [str(w) for w in words], "log": str(log), "limit": limit, "dies": dies}
        pid = self.ask(asked)["pid"]
        return Started(self, pid, log)

    def run(self, *words: object, code: int = 0, limit: int | None = None) -> Started:
        """Run a command to its end, which is to be ``code``."""
        done = self.start(*words, limit=limit)
        found = done.wait()
        assert found == code, done.said
        return done

    def stop(self) -> None:
        """End it; its commands have ended."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def record(out: Path) -> dict[str, Any]:
    """Return a run's record but for what may differ."""
    content = dict(json.loads((out / "record.json").read_text(encoding="utf-8")))
    content.pop("times")
    return content


def times(out: Path) -> dict[str, Any]:
    """Return what may differ."""
    return dict(json.loads((out / "record.json").read_text(encoding="utf-8"))["times"])


def files(out: Path) -> dict[str, bytes]:
    """Return all files but a record."""
    found = {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    found.pop("record.json", None)
    return found


def entries(cache: Path) -> list[Path]:
    """List the folders at an entry's place."""
    found = (p for p in cache.glob("??/*") if re.fullmatch("[0-9a-f]{64}", p.name))
    return sorted(found)


def rubbish(folder: Path) -> list[Path]:
    """List locks and drafts."""
    return [p for p in folder.rglob(".*") if re.match(r"\.(making-|lock|saving-)|.*\.tmp$", p.name)]


def adapter(seed: int) -> Adapter:
    """Draw an adapter of two sites."""
    rng = torch.Generator().manual_seed(seed)
    sites = ("model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj")
    a, b = (tuple(torch.randn(*shape, generator=rng) for _ in sites) for shape in ((2, 6), (4, 2)))
    return Adapter(sites, a, b, 2.0)
