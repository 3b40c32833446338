"""Worked examples, one file each, to copy and change: ``prime-audit examples NAME --out DIR``."""

from __future__ import annotations

from pathlib import Path

from prime_audit.errors import UserError, unknown

EXAMPLES = {
    "own_data": "your users' items, JSONL, to a report: check, import, compare, read back",
    "own_method": "your way to personalise: one file, compared with the others",
    "own_attack": "your attack: one file, checked, scored on a finished run without its model",
    "gated_llama": "a gated Llama on one GPU with the paper's numbers: log in, download once, run offline",
}
"""Name → what it shows."""


def copy_out(name: str, folder: Path) -> Path:
    """Copy an example into a folder; nothing is overwritten.

    UserError for an unknown name, a file that exists already, and a folder that cannot be written.
    """
    if name not in EXAMPLES:
        raise unknown("example", name, EXAMPLES)
    goal = folder / f"{name}.py"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with goal.open("x", encoding="utf-8") as stream:
            stream.write(Path(__file__).with_name(goal.name).read_text(encoding="utf-8"))
    except FileExistsError:
        raise UserError(f"{goal}: exists already; choose another --out, or delete it") from None
    except OSError as error:
        raise UserError(f"{goal}: cannot be written ({error.strerror}); choose another --out") from None
    return goal
