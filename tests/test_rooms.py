"""The rooms of the package, as ``lint-imports`` checks them: none is left out."""

from __future__ import annotations

import tomllib
from pathlib import Path

import prime_audit

HOME = Path(prime_audit.__file__).parent


def test_every_room_and_module_has_its_floor() -> None:
    pyproject = tomllib.loads((HOME.parent / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = (c["layers"] for c in pyproject["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    listed = {name.strip(" |:") for floor in layers for name in floor.split()}
    rooms = {path.parent.name for path in HOME.glob("*/*.py") if path.name != "__init__.py"}
    modules = {path.stem for path in HOME.glob("*.py")} - {"__init__"}
    assert {f"prime_audit.{name}" for name in rooms | modules} <= listed
    assert len(modules) < 10
