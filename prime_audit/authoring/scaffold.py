"""Writing a new plugin: a working file with its test, to be changed."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from prime_audit.errors import UserError
from prime_audit.plugins.loading import available

ATTACK = '''"""{title}: the typical token of the gold, whatever a few surprising ones say."""

from __future__ import annotations

import numpy as np

from prime_audit.audit.signals import Signals
from prime_audit.plugins import attack


@attack(source="ours", needs=("logprobs",))  # needs: fields of Signals it reads; only those are computed
def {name}(signals: Signals) -> np.ndarray:
    """Median log-probability of the gold tokens; one float an item, higher = member, NaN = undefined."""
    return np.array([np.median(tokens) for tokens in signals.logprobs])
'''
ATTACK_TEST = '''"""{title}, against numbers worked by hand, and against the contract of attacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from prime_audit.audit.signals import Signals
from prime_audit.authoring.doctor import examine
from prime_audit.plugins.loading import load_attack

FILES = [Path(__file__).with_name("{name}.py")]  # [] once it is in a package that is installed


def test_scores_by_hand() -> None:
    signals = Signals(logprobs=[np.array([-1.0, -3.0, -9.0]), np.array([-0.5])])
    np.testing.assert_allclose(load_attack("{name}", FILES).score(signals), [-3.0, -0.5])


def test_it_keeps_the_contract() -> None:
    assert [check.line() for check in examine("{name}", FILES) if not check.ok] == []
'''


def new_attack(name: str, folder: Path) -> tuple[Path, Path]:
    """Write ``NAME.py`` and ``test_NAME.py`` into ``folder``; nothing is overwritten.

    Raises
    ------
    UserError
        For a name that cannot be a plugin's, or a file that exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name) or name.startswith("test_"):
        raise UserError(f"new attack {name!r}: take small letters, digits and _, beginning with a letter")
    for kind in ("attack", "method"):
        if name in (known := available(kind)):
            raise UserError(
                f"new attack {name!r}: the name is taken by {kind} {name} of {known[name].origin}"
            )
    words = {"name": name, "title": name.replace("_", " ").capitalize()}
    texts = {folder / f"{name}.py": ATTACK, folder / f"test_{name}.py": ATTACK_TEST}
    for path in texts:
        if path.exists():
            raise UserError(f"{path}: exists already; take another name or another --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            with path.open("x", encoding="utf-8") as stream:
                stream.write(text.format(**words))
    except OSError as fault:
        raise UserError(
            f"--out {folder}: cannot be written ({fault.strerror}); choose another folder"
        ) from None
    made, test = texts
    return made, test
