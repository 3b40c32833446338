"""Worked examples, each one file to be copied out and changed: ``prime-audit examples NAME --out DIR``."""

from __future__ import annotations

from pathlib import Path

from prime_audit.errors import UserError, unknown

EXAMPLES = {
    "own_data": "my users' items, JSONL, to a report: checked, imported, compared, read back",
    "own_method": "my way to personalise: one file, compared with the others",
    "own_attack": "my attack: one file, checked, scored on a finished run without its model",
    "gated_llama": "a gated Llama on one GPU with the paper's numbers: log in, fetch once, run offline",
}
"""Name → what it shows."""


def copy_out(name: str, folder: Path) -> Path:
    """Copy an example into a folder; nothing is overwritten.

    Raises
    ------
    UserError
        For an unknown name, a file that is there already, and a folder that cannot be written.
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
