"""Writing a new plugin: a working file with its test, to be changed."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from prime_audit.errors import UserError
from prime_audit.plugins.loading import KINDS, Kind, available

TEMPLATES = Path(__file__).parent / "templates"
"""Of each kind the plugin and its test, with ``{name}`` and ``{title}``."""


def new_plugin(kind: Kind, name: str, folder: Path) -> tuple[Path, Path]:
    """Write ``NAME.py`` and ``test_NAME.py`` into ``folder``; UserError for a bad name or a file that exists."""
    what = f"new {kind} {name!r}"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name) or name.startswith("test_"):
        raise UserError(f"{what}: use small letters, digits and _, beginning with a letter")
    for other in KINDS:
        if name in (known := available(other)):
            raise UserError(f"{what}: the name is taken by {other} {name} of {known[name].origin}")
    words = {"name": name, "title": name.replace("_", " ").capitalize()}
    file, test = folder / f"{name}.py", folder / f"test_{name}.py"
    for path in (file, test):
        if path.exists():
            raise UserError(f"{path}: exists already; choose another name or another --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, template in ((file, kind), (test, f"{kind}_test")):
            text = (TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")
            with path.open("x", encoding="utf-8") as stream:
                stream.write(text.format(**words))
    except OSError as fault:
        raise UserError(
            f"--out {folder}: cannot be written ({fault.strerror}); choose another folder"
        ) from None
    return file, test
