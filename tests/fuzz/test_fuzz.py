"""The fuzzer on every reader for a few seconds, what it found before, and what it must find where there is a fault."""

from __future__ import annotations

import random
import secrets
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prime_audit.errors import UserError

from .attempt import Find, Hang, Target, attempt, limited
from .catalog import all_targets
from .fuzzer import fuzz
from .mutate import PART, mutate

RUNS = 40
"""Of each of some 29 readers; the nightly test, or ``python -m tests.fuzz``, goes on from there."""


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    return {target.name: target for target in all_targets(tmp_path_factory.mktemp("fuzz") / "seeds")}


def test_no_reader_breaks(targets: dict[str, Target], tmp_path: Path) -> None:
    tallies = [fuzz(target, tmp_path / "try", seed=0, runs=RUNS) for target in targets.values()]
    assert [str(find) for tally in tallies for find in tally.finds] == []
    assert all(tally.runs >= RUNS for tally in tallies)
    assert sum(tally.refused for tally in tallies) < sum(
        tally.runs for tally in tallies
    )  # not all is refused
    assert len(tallies) >= 27


@pytest.mark.nightly
def test_no_reader_breaks_in_ten_minutes() -> None:
    words = [sys.executable, "-m", "tests.fuzz", "--minutes", "10", "--seed", str(secrets.randbelow(1 << 31))]
    done = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"


def test_the_same_seed_tries_the_same(targets: dict[str, Target], tmp_path: Path) -> None:
    def tried(seed: int) -> list[bytes]:
        seen: list[bytes] = []
        own = Target("score", targets["score"].seeds, lambda data, folder: seen.append(data))
        fuzz(own, tmp_path / "try", seed=seed, runs=30)
        return seen

    assert tried(3) == tried(3)
    assert tried(3) != tried(4)


FOUND: dict[str, tuple[str, bytes]] = {
    # reader: what was wrong → an input of its kind
    "--methods: a parameter of brackets without end": ("--methods", b"perpcs:n_sim=" + b"[" * 9000),
    "adapter_config.json: an alpha of 400 digits": (
        "adapter_config.json",
        b'{"peft_type": "LORA", "r": 2, "lora_alpha": 1' + b"0" * 400 + b"}",
    ),
    "cells.json: a value of 400 digits": (
        "cells.json",
        b'{"schema": "prime-audit/reported/1", "value": 1' + b"0" * 400 + b"}",
    ),
    "plugin file: brackets without end": ("plugin file", b"@attack(source=1, n" + b"[" * 3000),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_before_is_borne(targets: dict[str, Target], tmp_path: Path, name: str) -> None:
    reader, data = FOUND[name]
    assert not isinstance(attempt(targets[reader], data, tmp_path / "try"), Find)


def test_a_bound_on_epsilon_without_its_ceiling_is_shown_as_none(
    targets: dict[str, Target], tmp_path: Path
) -> None:
    record = targets["record"].seeds[0]
    data = record.replace(b'"epsilon": null', b'"epsilon": 1.5')
    assert data != record
    assert attempt(targets["record"], data, tmp_path / "try") is None


def test_half_a_character_in_a_record_is_shown_and_written(
    targets: dict[str, Target], tmp_path: Path
) -> None:
    record = targets["record"].seeds[0]
    data = record.replace(b'"a warning"', b'"\\ud800"')
    assert data != record
    assert attempt(targets["record"], data, tmp_path / "try") is None


# -- any bytes at all, and any text ---------------------------------------------------------------------------


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bytes_are_read_or_refused(
    targets: dict[str, Target], tmp_path: Path, data: st.DataObject
) -> None:
    target = targets[data.draw(st.sampled_from(sorted(targets)))]
    parts = data.draw(st.lists(st.binary(max_size=300) | st.text(max_size=100).map(str.encode), max_size=5))
    said = attempt(target, PART.join(parts), tmp_path / "try")
    assert not isinstance(said, Find), said


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "user_id", "profile", "query", "input", "text", "score"]), inner
        )
    ),
    max_leaves=12,
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(extra=st.lists(JSON, max_size=3), at=st.integers(0, 3), reader=st.sampled_from(["perpcs", "oppu"]))
def test_any_json_among_the_users_is_read_or_reported(
    targets: dict[str, Target], tmp_path: Path, extra: list[object], at: int, reader: str
) -> None:
    import json

    parts = targets[reader].seeds[0].split(PART)
    users = json.loads(parts[at % 2])
    parts[at % 2] = json.dumps([*users, *extra]).encode()
    assert (
        attempt(targets[reader], PART.join(parts), tmp_path / "try") is None
    )  # users are left, so it is read


# -- the fuzzer itself: a reader with a fault is found --------------------------------------------------------


def faulty(data: bytes, folder: Path) -> None:
    if b"7" in data and len(data) > 3:
        raise KeyError("seven")
    if not data:
        raise UserError("x: empty; fill it")


def test_a_fault_is_found_once_and_its_input_shrunk(tmp_path: Path) -> None:
    tally = fuzz(Target("faulty", (b"abcdefgh" * 20,), faulty, (b"7",)), tmp_path / "try", seed=0, runs=400)
    (find,) = tally.finds
    assert find.kind == "KeyError"
    assert b"7" in find.data
    assert len(find.data) == 4


def test_a_reader_that_hangs_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.attempt.SECONDS", 0.2)
    monkeypatch.setattr(f"{attempt.__module__}.SECONDS", 0.2)

    def slow(data: bytes, folder: Path) -> None:
        with suppress(Exception):  # an interruption that a reader could swallow would be none
            time.sleep(30)

    said = attempt(Target("slow", (), slow), b"", tmp_path / "try")
    assert isinstance(said, Find)
    assert said.kind == "Hang"
    with pytest.raises(Hang), limited(0.05):
        time.sleep(5)


def test_a_message_that_is_no_line_is_a_find(tmp_path: Path) -> None:
    def speechless(data: bytes, folder: Path) -> None:
        raise UserError("")

    assert isinstance(attempt(Target("s", (), speechless), b"", tmp_path / "try"), Find)


def test_seeds_that_are_not_read_are_no_seeds(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="seed 0 is not read"):
        fuzz(Target("faulty", (b"",), faulty), tmp_path / "try", seed=0, runs=1)


@given(st.binary(max_size=200), st.integers())
def test_mutations_of_anything_are_bytes_of_bounded_length(data: bytes, seed: int) -> None:
    assert len(mutate(data, random.Random(seed), [data], ())) <= 1 << 16
