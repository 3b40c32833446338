"""A community's examples are written once, and are nobody else's."""

from __future__ import annotations

from typing import Any

import pytest

from prime_audit.community import build
from prime_audit.community.build import Community
from prime_audit.community.store import Store
from prime_audit.engine.mixture import Spent
from prime_audit.lamp.data import Dataset, Item, User
from prime_audit.lamp.prompts import history_examples
from prime_audit.lamp.tasks import TASKS
from prime_audit.settings import load_settings

TASK = TASKS["LaMP-4"]


def user(items: int) -> User:
    return User("u", tuple(Item(f"i{n}", {"text": f"text {n}", "title": f"title {n}"}) for n in range(items)))


@pytest.fixture
def community() -> Community:
    nothing: Any = None
    data = Dataset(task="LaMP-4", source="a test", layout="perpcs", adapt=(), targets=(), candidates=())
    store, settings = Store(None, Spent()), load_settings("laptop")
    return Community(
        task=TASK,
        data=data,
        engine=nothing,
        encoder=nothing,
        settings=settings,
        seed=0,
        store=store,
        stage=nothing,
    )


def test_examples_are_written_once(community: Community, monkeypatch: pytest.MonkeyPatch) -> None:
    one = user(5)
    first = community.user_examples(one)
    community.including({}).user_examples(one).clear()  # a list of the caller's own
    monkeypatch.setattr(build, "history_examples", lambda *_, **__: pytest.fail("written again"))
    assert community.user_examples(one) == first == history_examples(TASK, one)
    with pytest.raises(BaseException, match="written again"):
        community.user_examples(one, ["i0", "i1"])


def test_whatever_decides_examples_is_asked_for(community: Community) -> None:
    whole, part = user(5), user(3)  # one person, whole and as her adapter sees her
    assert len(community.user_examples(whole)) > len(community.user_examples(part))
    community.profiles["u"] = "writes of rain"
    for one in (whole, part):
        for only in (None, ["i1", "i2"], ["i2"]):
            expected = history_examples(TASK, one, profile="writes of rain", items=only, pool=only)
            assert community.user_examples(one, only) == expected
