"""Writing a new plugin: a working file with its test, to be changed."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import Literal

from prime_audit.errors import UserError
from prime_audit.plugins.loading import KINDS, available

ATTACK = '''"""The typical token of the gold, whatever a few surprising ones say."""

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


GAME = '''"""Merged sharers' earlier trained items against their later ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prime_audit.audit.design import Dealt
from prime_audit.plugins import Audited, game

if TYPE_CHECKING:
    from prime_audit.audit.pool import Pool


@game(
    source="ours",
    says="Both sides were trained on, and no chance decided: this game can never say leaks, at most confounded.",
    unit="item-within-sharer",  # what the test exchanges: sharer where all of a person's items are on one side
    randomised=False,  # True only where chance decided who is a member; then it can say leaks
)
def {name}(audited: Audited, pool: Pool) -> Dealt:
    """Members: the earlier half of each merged sharer's trained items; non-members: the later half."""
    if not audited.merged:
        return Dealt.nothing(audited.target, "merges no sharers: no members")
    rows = np.flatnonzero(pool.last & pool.trained & pool.of(audited.merged))
    owners = np.array([pool.owners[row] for row in rows])
    place = np.array([np.sum(owners[:n] == owner) for n, owner in enumerate(owners)], dtype=np.int64)
    count = np.array([np.sum(owners == owner) for owner in owners], dtype=np.int64)
    return pool.deal(audited.target, rows, place < count // 2)
'''
GAME_TEST = '''"""{title}: who is dealt in, and the contract of games."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from prime_audit.audit.pool import Pool
from prime_audit.authoring.doctor import examine
from prime_audit.plugins import Audited
from prime_audit.plugins.loading import load_game

FILES = [Path(__file__).with_name("{name}.py")]  # [] once it is in a package that is installed


def test_who_is_dealt_in() -> None:
    owners = ["a", "a", "b", "b", "b", "c"]
    marks = dict.fromkeys(("trained", "last", "drawn"), np.ones(6, dtype=np.bool_))
    words = dict.fromkeys(("ids", "prompts", "golds"), list("uvwxyz"))
    pool = Pool(owners=owners, twins=[()] * 6, **words, **marks)
    dealt = load_game("{name}", FILES).deal(Audited(target="t", merged=("a", "b")), pool)
    assert dealt.rows.tolist() == [0, 1, 2, 3, 4]
    assert dealt.members.tolist() == [True, False, True, False, False]


def test_it_keeps_the_contract() -> None:
    assert [check.line() for check in examine("{name}", FILES) if not check.ok] == []
'''
TEMPLATES: dict[Literal["attack", "game"], tuple[str, str]] = {
    "attack": (ATTACK, ATTACK_TEST),
    "game": (GAME, GAME_TEST),
}


def new_plugin(kind: Literal["attack", "game"], name: str, folder: Path) -> tuple[Path, Path]:
    """Write ``NAME.py`` and ``test_NAME.py`` into ``folder``; nothing is overwritten.

    Raises
    ------
    UserError
        For a name that cannot be a plugin's, or a file that exists.
    """
    what = f"new {kind} {name!r}"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name) or name.startswith("test_"):
        raise UserError(f"{what}: use small letters, digits and _, beginning with a letter")
    for other in KINDS:
        if name in (known := available(other)):
            raise UserError(f"{what}: the name is taken by {other} {name} of {known[name].origin}")
    words = {"name": name, "title": name.replace("_", " ").capitalize()}
    file, test = folder / f"{name}.py", folder / f"test_{name}.py"
    texts = dict(zip((file, test), TEMPLATES[kind], strict=True))
    for path in texts:
        if path.exists():
            raise UserError(f"{path}: exists already; choose another name or another --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            with path.open("x", encoding="utf-8") as stream:
                stream.write(text.format(**words))
    except OSError as fault:
        raise UserError(
            f"--out {folder}: cannot be written ({fault.strerror}); choose another folder"
        ) from None
    return file, test
