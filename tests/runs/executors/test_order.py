"""What goes to a worker and comes out as the same run; who is refused, in one line that names the node."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prime_audit import compare
from prime_audit.errors import UserError
from prime_audit.plan.plan import Plan, make_plan
from prime_audit.runs.executors import chosen, order
from prime_audit.runs.executors.order import Likeness, identity, marked, order_of, plan_again, require_shared

Said = Any
PLUGIN = '''"""Nothing at all."""

from prime_audit.engine.mixture import BASE
from prime_audit.plugins import Personal, Scene, method


@method(source="ours")
def personalise(scene: Scene) -> dict[str, Personal]:
    """Leave every target the base."""
    return {user.id: Personal(BASE) for user in scene.community.targets}
'''


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    plugin = tmp_path / "nothing.py"
    plugin.write_text(PLUGIN, encoding="utf-8")
    return make_plan(
        methods="prime:alpha=0.6,k=2+rag,perpcs,nothing",
        tasks="LaMP-2,LaMP-4",
        attacks="loss,rmia",
        games="paper,inclusion",
        overrides=["clusters=4", "lora.modules=q_proj+v_proj", "LaMP-4.max_new=3"],
        plugins=[plugin],
        sharer_dp="epsilon=8",
        against="np,perpcs",
        seed=3,
        strict=True,
    )


def test_a_worker_decides_the_same_run(plan: Plan, tmp_path: Path) -> None:
    sent = order_of(plan, {}, "prime-audit compare", tmp_path, ("name", "text"), 1)
    again = plan_again(sent)
    assert again.spec() == plan.spec()
    assert [m.label for m in again.methods] == [m.label for m in plan.methods]
    assert again.plugins[0] != plan.plugins[0]  # its own copy: the driver's file need not be on the node
    assert again.plugins[0].read_text(encoding="utf-8") == PLUGIN
    assert identity(again) == identity(plan)


def test_a_run_that_comes_out_otherwise_is_refused(plan: Plan, tmp_path: Path) -> None:
    sent = order_of(plan, {}, "prime-audit compare", tmp_path, ("name", "text"), 1)
    with pytest.raises(UserError, match=r"comes out differently on another node \(model\)"):
        plan_again(replace(sent, spec={**sent.spec, "model": None}))


def test_a_plugins_name_is_no_path(plan: Plan, tmp_path: Path) -> None:
    sent = order_of(plan, {}, "prime-audit compare", tmp_path, ("name", "text"), 1)
    (name, text), target = sent.plugins[0], tmp_path / "outside" / "nothing.py"
    again = plan_again(replace(sent, plugins=((f"../../{target}", text),)))
    assert again.plugins[0].name == name
    assert not target.exists()


def test_no_secret_is_sent(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    sent = order_of(plan, {}, "prime-audit compare", tmp_path, ("name", "text"), 1)
    assert sent.environment["HF_HUB_OFFLINE"] == "1"
    assert "hf_secret" not in repr(sent)


@pytest.mark.parametrize("what", ["python", "prime-audit", "torch", "method prime", "attack loss"])
def test_another_version_is_refused(plan: Plan, what: str) -> None:
    ours = identity(plan)
    alike = Likeness(ours)
    alike("a", ours | {"device": "cpu"})
    with pytest.raises(UserError, match=rf"^node b: {what} is other, but {'.*'} where compare was started"):
        alike("b", ours | {"device": "cpu", what: "other"})


def test_another_machine_is_refused() -> None:
    alike = Likeness({"torch": "2"})
    alike("a", {"torch": "2", "device": "A100"})
    with pytest.raises(UserError, match=r"^node b: device is H100, but A100 on node a"):
        alike("b", {"torch": "2", "device": "H100"})


def test_a_cache_that_is_not_shared_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "PATIENCE", 0.1)
    other = tmp_path / "other"
    other.mkdir()
    with marked(tmp_path / "cache") as token:
        require_shared("a", tmp_path / "cache", token)
        with pytest.raises(
            UserError, match=r"^node b: .*other is not the cache of the machine .* pass --cache"
        ):
            require_shared("b", other, token)
        (other / token[0]).write_text("an older run's", encoding="utf-8")
        with pytest.raises(UserError, match="node b"):
            require_shared("b", other, token)
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with marked(tmp_path) as token:
        tmp_path.chmod(0o500)
        try:
            with pytest.raises(UserError, match=r"node a: cache .* cannot be written"):
                require_shared("a", tmp_path, token)
        finally:
            tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"executor": "dask"}, r"unknown executor 'dask': known: local, ray"),
        ({"address": "h:1"}, r"--address h:1: needs --executor ray"),
        ({"workers": 2}, r"--workers 2: needs --executor ray"),
        ({"executor": "ray", "workers": 0}, r"--workers 0: pass a whole number of at least 1"),
        ({"executor": "ray", "address": "ray://h:1"}, r"--address ray://h:1: Ray Client is not used"),
    ],
)
def test_words_that_do_not_go_together(words: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=f"^{says}"):
        chosen(**words)


def test_without_ray_one_line_says_what_to_install(
    say: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    said = say("compare", "--executor", "ray", "--cache", tmp_path / "cache", "--out", tmp_path / "run")
    assert said.code == 2
    last = said.err.splitlines()[-1]
    assert last == "prime-audit: --executor ray: Ray is not installed: pip install 'prime-audit[ray]'"
    assert not (tmp_path / "run").exists()


def test_workers_need_a_cache(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leave --no-cache out"):
        compare("prime", executor="ray", cache=None, out=tmp_path / "run", quiet=True)
