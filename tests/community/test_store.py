"""The cache: what is read back is what was made, whole or not there at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from prime_audit.community.store import Store, content_key, default_cache
from prime_audit.engine.lora import Adapter
from prime_audit.engine.mixture import Cuts, Spent
from prime_audit.errors import UserError
from tests.cache.commands import adapter


def test_adapters_and_gates_come_back_bit_for_bit_and_are_made_once(tmp_path: Path) -> None:
    names, calls = ["ann", "../bob", "a/b"], []

    def make() -> dict[str, Adapter]:
        calls.append(1)
        return {name: adapter(n) for n, name in enumerate(names)}

    store = Store(tmp_path, Spent())
    first, again = (store.adapters("k" * 64, names, make) for _ in range(2))
    assert len(calls) == 1
    for name in names:
        assert first[name].scaling == again[name].scaling
        for x, y in zip((*first[name].A, *first[name].B), (*again[name].A, *again[name].B), strict=True):
            assert torch.equal(x, y)
    gates = {n: tuple(torch.randn(3 + i) for i in range(2)) for n in names}
    made = store.gates("g" * 64, names, lambda: gates)
    back = store.gates("g" * 64, names, lambda: pytest.fail("made again"))
    for name in names:
        assert all(torch.equal(x, y) for x, y in zip(made[name], back[name], strict=True))
    assert "bob" not in {p.name for p in tmp_path.rglob("*")}  # a user's id is no file's name


def test_no_cache_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(None, Spent())
    for seed in (1, 2):
        made = store.adapters("k" * 64, ["a"], lambda seed=seed: {"a": adapter(seed)})
        assert torch.equal(made["a"].A[0], adapter(seed).A[0])
    assert list(tmp_path.iterdir()) == []


def test_what_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail() -> dict[str, Adapter]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path, Spent()).adapters("k" * 64, ["a"], fail)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"cannot be written .*pass --cache DIR or --no-cache"):
        Store(tmp_path / "file", Spent()).adapters("k" * 64, ["a"], lambda: {"a": adapter(0)})


def test_the_caches_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PRIME_AUDIT_CACHE", str(tmp_path / "own"))
    assert default_cache() == tmp_path / "own"
    monkeypatch.delenv("PRIME_AUDIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "prime-audit"


def test_keys_depend_on_content_and_not_on_order() -> None:
    assert content_key({"a": 1, "b": [1, "ü"]}) == content_key({"b": [1, "ü"], "a": 1})
    assert content_key({"a": 1}) != content_key({"a": 2})


def test_what_is_kept_within_what_is_kept_is_counted_with_it(tmp_path: Path) -> None:
    def ask(store: Store, key: str) -> list[str]:
        def make() -> list[str]:
            store.spent.requests += 1
            store.cuts.texts.add(key)
            return [key]

        return store.texts(key * 64, make)

    def account(folder: Path, *keys: str) -> tuple[int, set[str]]:
        store = Store(folder, Spent(), Cuts())
        store.texts("o" * 64, lambda: [text for key in keys for text in ask(store, key)])
        return store.spent.requests, store.cuts.texts

    ask(Store(tmp_path, Spent()), "b")  # one of them was known beforehand
    cold, warm = (account(tmp_path, "a", "b", "c") for _ in range(2))
    assert cold == warm == (3, {"a", "b", "c"})
