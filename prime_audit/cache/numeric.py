"""What decides numbers, in one table: source files and libraries behind each kind of cached result.

A cache key holds the hash of its part. Docstrings, comments, texts of errors and summaries of classes do not count, and
files that only read, write or explain are not listed, so rewording them leaves every cache valid. After adding a module
whose code changes a cached number, list it here.
"""

from __future__ import annotations

import ast
import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LIBRARIES = (
    *("torch", "transformers", "tokenizers", "peft", "opacus"),
    *("numpy", "scipy", "scikit-learn", "nevergrad", "cma", "rapidfuzz", "rouge-score", "sacrebleu"),
)
"""Every library whose version can decide a number: recorded with each run, and equal on all nodes of a cluster."""
_ERRORS = ("UserError", "PartError", "unknown")
_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Part:
    """What one kind of result depends on, besides its inputs."""

    files: tuple[str, ...]
    """Source files below the package."""
    libraries: tuple[str, ...] = ()
    """Of ``LIBRARIES``."""


def _engine(names: str) -> tuple[str, ...]:
    return tuple(f"engine/{name}.py" for name in names.split())


PARTS: Mapping[str, Part] = {
    # Answers, log-probabilities, embeddings, adapters, gates.
    "engine": Part(
        (
            *_engine(
                "attention bank base batches checkpoint codec decode embed engine fused gguf_file kvcache lastlayer"
            ),
            *_engine(
                "heads load lora memo memory mixture observe rotations rules sampling shape sites tree trial assemble"
            ),
            *_engine("branches divergence draws keys packed recipe stack train trainee unfinished"),
            "seeds.py",
        ),
        ("torch", "transformers", "tokenizers", "numpy"),
    ),
    # Gradients with respect to an adapter's factors, on top of the engine.
    "gradients": Part(_engine("gradients"), ("torch",)),
    # DP-SGD, on top of the engine's training.
    "private training": Part(_engine("privacy private"), ("opacus",)),
    # Clusters of users.
    "sharers": Part(("community/sharers.py",), ("scikit-learn", "numpy", "scipy")),
    # Adapters made from sharers' adapters.
    "united": Part(
        (*(f"community/{name}.py" for name in ("unite", "trim", "core_space", "noise")), "seeds.py"),
        ("torch", "numpy"),
    ),
    # PriME's searches: candidates, and the objective that scores answers.
    "search": Part(
        ("prime/objective.py", "prime/search.py", "lamp/metrics.py", "lamp/tasks.py", "lamp/tasks.toml"),
        ("nevergrad", "cma", "numpy", "scipy", "scikit-learn", "rapidfuzz", "rouge-score", "sacrebleu"),
    ),
    # The bag-of-words control of membership games.
    "controls": Part(("games/exam/controls.py",), ("scikit-learn", "scipy", "numpy")),
}


@cache
def code_sha256(part: str) -> str:
    """Hash the code and the libraries' versions behind one of ``PARTS``."""
    own, digest = PARTS[part], hashlib.sha256()
    for name in own.files:
        digest.update(f"{name}\0{_code(_PACKAGE / name)}\0".encode())
    for name in own.libraries:
        digest.update(f"{name} {_version(name)}\0".encode())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Return the version of each of ``LIBRARIES``; ``missing`` where one is not installed."""
    return {name: _version(name) for name in LIBRARIES}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _code(path: Path) -> str:
    """Write a file as a syntax tree, or a table as its values: without layout and texts that only people read."""
    if path.suffix == ".toml":
        return repr(tomllib.loads(path.read_text(encoding="utf-8")))
    return ast.dump(_Numeric().visit(ast.parse(path.read_bytes())))


class _Numeric(ast.NodeTransformer):
    """Removes what cannot decide a number: bare texts, the texts of errors, and what a class is or comes from."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> Any:
        return _Textless().visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        error = isinstance(node.func, ast.Name) and node.func.id in _ERRORS
        return _Textless().visit(node) if error else self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = [line for line in node.body if not _describes(line)]
        return self.generic_visit(node)


class _Textless(ast.NodeTransformer):
    """Removes the words of every text."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant("") if isinstance(node.value, str) else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return ast.Constant("")


def _describes(line: ast.stmt) -> bool:
    """Whether it is the summary or the source of a class, as of a merge rule."""
    named = isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name) and line.targets[0].id
    return named in ("summary", "source")
