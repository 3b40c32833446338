"""Attacks that do not keep the contract: one line that says what to mend, and nothing half-written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prime_audit import load_run
from prime_audit.audit.signals import Signals
from prime_audit.errors import UserError
from prime_audit.plugins import Attack
from prime_audit.plugins.calling import scores_of

BAD = '''"""An attack whose last line is the test's."""
import numpy as np
from prime_audit.plugins import attack

@attack(source="a test", needs=("texts",))
def bad(signals):
    """Bad."""
    '''


def _fail(signals: Signals) -> Any:
    raise ZeroDivisionError("float division\nby zero")


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (lambda s: np.zeros(3), r"attack mine returned scores of shape \(3,\) for 2 items: return \[items\]"),
        (lambda s: np.zeros((2, 1)), r"attack mine returned scores of shape \(2, 1\) for 2 items"),
        (
            lambda s: None,
            r"attack mine returned scores of shape \(\) for 2 items|attack mine returned no numbers",
        ),
        (lambda s: ["high", "low"], "attack mine returned no numbers: return one float per item"),
        (
            lambda s: s.mu,
            "attack mine failed: AttributeError: signal 'mu' was not computed: name it in the attack",
        ),
        (_fail, "attack mine failed: ZeroDivisionError: float division"),
    ],
)
def test_what_an_attack_returns_is_checked(score: Any, message: str) -> None:
    signals = Signals(logprobs=[np.zeros(1), np.zeros(2)], mu=[np.zeros(1), np.zeros(2)])
    with pytest.raises(UserError, match=message):
        scores_of(Attack(name="mine", summary="", source="", needs=("logprobs",), score=score), signals)


def test_infinite_scores_keep_their_place() -> None:
    signals = Signals(texts=["a", "b", "c"])
    attack = Attack(
        name="mine", summary="", source="", needs=(), score=lambda s: np.array([np.inf, np.nan, -np.inf])
    )
    np.testing.assert_array_equal(scores_of(attack, signals), [1e300, np.nan, -1e300])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return np.zeros(1)", "attack bad returned scores of shape (1,) for"),
        ("raise RuntimeError('out of\\nluck')", "attack bad failed: RuntimeError: out of luck"),
    ],
)
def test_a_bad_attack_fails_alone_and_in_one_line(
    body: str,
    message: str,
    tmp_path: Path,
    say: Callable[..., Any],
    small: Sequence[str],
    small_data: Callable[[str], Path],
    llama_folder: Path,
) -> None:
    file = tmp_path / "bad.py"
    file.write_text(BAD + body + "\n", encoding="utf-8")
    sets = [word for pair in small for word in ("--set", pair)]
    said = say(
        *("compare", "--methods", "perpcs", "--attacks", "bad", "--plugin", file, "--no-cache", *sets),
        *("--data", small_data("LaMP-3"), "--model", llama_folder, "--out", tmp_path / "run"),
    )
    assert said.code == 3
    assert message in " ".join(said.out.split())
    assert "Traceback" not in said.err + said.out
    record = load_run(tmp_path / "run").record
    assert {(f.method, f.attack, f.stage) for f in record.failures} == {
        ("perpcs", "bad", "game paper"),
        ("perpcs", "bad", "game heldout"),
    }
    assert all(message in f.error for f in record.failures)
    aucs = [r for r in record.results if (r.method, r.metric) == ("perpcs", "auc")]
    assert [(r.value, r.reason) for r in aucs] == [(None, f"failed: {f.error}") for f in record.failures]
