"""Shadow adapters: balanced halves, what they are trained on, what models say with them, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prime_audit import Run, compare
from prime_audit.audit.vulnerability import vulnerability
from prime_audit.community.shadows import in_play, shadows_of
from prime_audit.community.sharers import Sharer, hold_out
from prime_audit.errors import UserError
from prime_audit.games.exam.stored import read_exam
from prime_audit.lamp.data import Item, User
from prime_audit.plan.plan import make_plan
from prime_audit.runs.rescore import attack

# -- halves --------------------------------------------------------------------------------------------------


def sharer(items: int, share: float, seed: int) -> Sharer:
    user = User("u", tuple(Item(f"i{n}", {"text": str(n)}) for n in range(items)))
    return hold_out(user, 0, share, seed)


@given(st.integers(2, 40), st.floats(0.05, 0.6), st.integers(1, 8), st.integers(0, 9))
def test_every_item_in_play_is_in_half_of_the_shadows(
    items: int, share: float, pairs: int, seed: int
) -> None:
    one = sharer(items, share, seed)
    play = set(in_play(one, seed))
    count, size = 2 * pairs, len(play) // 2
    able = math.comb(len(play), size) // (1 if len(play) % 2 else 2) if size else 0
    if pairs > able:
        with pytest.raises(UserError, match=r"sharer u has \d+ items in play"):
            shadows_of(one, count, seed)
        return
    shadows = shadows_of(one, count, seed)
    assert shadows == shadows_of(one, count, seed)
    trained = [set(s.trained) for s in shadows]
    assert len({frozenset(t) for t in trained}) == count
    assert all(sum(item in t for t in trained) == pairs for item in play)
    assert all(set(s.trained) | set(s.heldout) == {i.id for i in one.user.history} for s in shadows)
    assert all(set(one.trained) - play <= t for t in trained)
    assert all(not set(s.trained) & set(s.heldout) for s in shadows)
    for first, second in zip(trained[::2], trained[1::2], strict=True):
        assert first & play == play - second
        assert abs(len(first) - len(second)) == len(play) % 2
    if len(set(one.trained) & play) == len(one.heldout):
        assert all(len(t) == len(one.trained) for t in trained)


# -- a run ---------------------------------------------------------------------------------------------------

ATTACKS = "reference,lira_offline,lira,rmia_item"
GAMES = "adapter,heldout,paper,target"


@pytest.fixture(scope="module")
def make(
    small_data: Callable[[str], Path],
    small: Sequence[str],
    llama_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Run]:
    """Attacks → a run with four shadow adapters a sharer."""
    root, data = tmp_path_factory.mktemp("shadows"), str(small_data("LaMP-3"))
    own = (*small, "heldout=0.4", "shadows=4", "sharer.lr=0.02", "prime.budget=3")

    def go(name: str, attacks: str, *more: str) -> Run:
        words: dict[str, Any] = {"tasks": "LaMP-3", "data": data, "model": str(llama_folder), "games": GAMES}
        overrides = (*own, *more)
        return compare(
            "prime",
            **words,
            attacks=attacks,
            overrides=overrides,
            out=root / name,
            cache=root / "cache",
        )

    return go


@pytest.fixture(scope="module")
def run(make: Callable[..., Run]) -> Run:
    return make("run", ATTACKS)


def test_item_level_attacks_have_figures_where_members_are_items(run: Run) -> None:
    figures = {(r.game, r.attack): r for r in run.record.results if r.method == "prime" and r.metric == "auc"}
    for name in ("lira", "rmia_item"):
        assert figures["adapter", name].value is not None
        assert figures["heldout", name].value is not None
        assert "all of a person's items are on one side" in str(figures["paper", name].reason)
        assert "this game's items have none" in str(figures["target", name].reason)
    stages = [(c.method, c.stage) for c in run.record.costs]
    assert stages.count((None, "shadows")) == 1


def test_what_models_say_with_a_shadow_in_place_of_the_owner_s_adapter(
    run: Run, llama_folder: Path, small: Sequence[str]
) -> None:
    """Each stored number again: shadows trained alone, merged into one adapter, scored one by one."""
    import torch

    from prime_audit.community.shadows import shadow_name
    from prime_audit.community.sharers import bank_name
    from prime_audit.community.store import Store
    from prime_audit.engine.bank import AdapterBank, per_site
    from prime_audit.engine.engine import Engine
    from prime_audit.engine.mixture import Mixture, Request, Spent, alone
    from prime_audit.engine.recipe import Job, LoraShape, Recipe
    from prime_audit.engine.rules import merge_adapters
    from prime_audit.engine.train import train_adapters
    from prime_audit.lamp.prompts import history_examples
    from prime_audit.runs.findings import Findings
    from prime_audit.runs.ledger import Ledger
    from prime_audit.runs.perform import open_all
    from prime_audit.runs.rebuild import plan_of
    from prime_audit.runs.worker import Worker

    plan = plan_of(run.record.spec, ["loss"], [])
    ledger = Ledger(quiet=True)
    worker = Worker.of(plan, open_all(plan), Store(None, Spent()), ledger)
    task = worker.task("LaMP-3", Findings(), {})
    task.prepare()
    community = task.community
    community.ready()
    exam = read_exam(run.path, "LaMP-3")
    pool = exam.pools["sharers"]
    modules = next(p for p in exam.passes if p.kind == "modules" and p.method == "prime")
    base, settings = community.engine.base, plan.settings
    model = next(row for row in run.models() if row["method"] == "prime" and "game" not in row)
    target, names = model["target"], model["adapters"]
    one = next(s for s in community.sharers if bank_name(s.user.id) == names[0])
    rows = [r for r in range(len(pool)) if pool.owners[r] == one.user.id and pool.drawn[r]]
    shadows = shadows_of(one, 4, plan.seed)
    for number in (0, 3):
        shadow = shadows[number]
        examples = history_examples(
            community.task,
            one.user,
            profile=community.profiles.get(one.user.id),
            items=shadow.trained,
            pool=shadow.trained,
        )
        name = shadow_name(one.user.id, number)
        job = Job(name, tuple((e.prompt, e.gold) for e in examples), tuple(e.item for e in examples))
        recipe = Recipe(**settings.recipe("sharer", "LaMP-3"))
        shape = LoraShape(**{k: settings.get(f"lora.{k}") for k in ("rank", "alpha", "dropout")})
        made = train_adapters(base, [job], shape, recipe, seed=plan.seed, tokens=settings.get("train_tokens"))
        parts = [made[name], *(community.engine.bank.adapter(alone(n)) for n in names[1:])]
        mixture = Mixture(tuple(names), np.array(model["weights"]), model["rule"])
        merged = merge_adapters(parts, torch.tensor(per_site(mixture, base.sites)), model["rule"])
        for kind, adapter in (("modules", merged), ("adapter", made[name])):
            asked = AdapterBank(base)
            asked.add({"own": adapter})
            engine = Engine(base=base, bank=asked)
            requests = [Request(pool.prompts[r], alone("own"), pool.golds[r]) for r in rows]
            expected = [-logp.mean() for logp in engine.score(requests)]
            where = next(p for p in exam.passes if p.kind == kind and p.seen)
            seen = where.seen[target if kind == "modules" else one.user.id].shadow_nll
            assert [seen[r][number] for r in rows] == pytest.approx(expected, abs=2e-5)
        for row in rows:
            assert pool.inside[row][number] == (pool.ids[row].split("/")[1] in shadow.trained)
    elsewhere = modules.seen[target].shadow_nll
    merged_owners = {*modules.merged[target]}
    sizes = {
        (pool.owners[r] in merged_owners and bool(pool.drawn[r])): len(elsewhere[r]) for r in range(len(pool))
    }
    assert sizes == {True: 4, False: 0}


def test_scored_again_from_stored_signals(run: Run, make: Callable[..., Run], tmp_path: Path) -> None:
    again = attack(make("plain", "loss").path, ATTACKS, out=tmp_path / "again", quiet=True)
    key = ("task", "method", "game", "attack", "metric", "value", "reason")
    figures = [
        [tuple(getattr(r, k) for k in key) for r in one.record.results if r.game] for one in (run, again)
    ]
    assert figures[0] == figures[1]
    assert again.record.vulnerable == run.record.vulnerable


def test_without_other_models_community_lira_is_named_a_duplicate(run: Run) -> None:
    same = {(x.game, x.attack): x.duplicate for x in run.record.leaks if x.method == "prime"}
    assert same["adapter", "lira_offline"] == "reference"
    assert same["heldout", "lira_offline"] is None
    assert same["adapter", "lira"] is None


def test_records_are_ranked_by_how_vulnerable_they_are(run: Run) -> None:
    text = (run.path / "vulnerability.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    assert {row["game"] for row in rows} == {"adapter", "heldout"}
    exam = read_exam(run.path, "LaMP-3")
    pool = exam.pools["sharers"]
    alone = [row for row in rows if row["game"] == "adapter"]
    assert sorted(row["item"] for row in alone) == sorted(
        pool.ids[r] for r in range(len(pool)) if pool.drawn[r]
    )
    named = [v for v in run.record.vulnerable if v.game == "adapter"]
    assert [v.item for v in named] == [
        row["item"] for row in sorted(alone, key=lambda row: -row["d"])[: len(named)]
    ]
    assert 0 < len(named) <= 5
    page = (run.path / "index.html").read_text(encoding="utf-8")
    assert "The most vulnerable records" in page
    assert named[0].item in page
    assert named[0].item in (run.path / "table.md").read_text(encoding="utf-8").replace("\\", "")


def test_ids_of_vulnerable_records_are_text_on_the_page(run: Run) -> None:
    from dataclasses import replace

    from prime_audit.report import page, text
    from prime_audit.report.from_record import sheet_of

    odd = '<img src=x onerror="1">\u202e\n'
    named = replace(run.record.vulnerable[0], item=odd, limit=None)
    sheet = sheet_of(replace(run.record, vulnerable=(named,)), "run")
    assert "chance is unknown" in sheet.vulnerable[0]
    assert "<img" not in page.render(sheet)
    assert "&lt;img src=x" in page.render(sheet)
    assert "<img" not in text.markdown(sheet)


# -- vulnerability -------------------------------------------------------------------------------------------


def draw(rng: np.random.Generator, records: int, effect: float) -> tuple[np.ndarray, np.ndarray, list[str]]:
    inside = np.zeros((records, 16), dtype=bool)
    for row in inside:
        first = rng.integers(2, size=8).astype(bool)
        row[::2], row[1::2] = first, ~first
    owners = [f"s{n % 4}" for n in range(records)]
    common = {
        owner: rng.normal(size=16) for owner in sorted(set(owners))
    }  # one shadow is better than another
    noise = np.array([common[owner] for owner in owners]) + rng.normal(size=(records, 16))
    return noise + effect * inside, inside, owners


def test_d_of_a_record_against_a_plain_computation() -> None:
    phi, inside, owners = draw(np.random.default_rng(0), 12, 1.0)
    phi[3, 5] = np.nan
    found = vulnerability(phi, inside, owners, seed=0).d
    for record in range(12):
        use = [n for n in range(16) if record != 3 or n not in (4, 5)]
        a = [phi[record, n] for n in use if inside[record, n]]
        b = [phi[record, n] for n in use if not inside[record, n]]
        spread = math.sqrt(
            ((len(a) - 1) * np.var(a, ddof=1) + (len(b) - 1) * np.var(b, ddof=1)) / (len(a) + len(b) - 2)
        )
        assert found[record] == pytest.approx((np.mean(a) - np.mean(b)) / spread)


def test_the_limit_holds_where_no_record_is_vulnerable_and_finds_one_that_is() -> None:
    rng = np.random.default_rng(1)
    above = 0
    for _ in range(100):
        found = vulnerability(*draw(rng, 40, 0.0), seed=int(rng.integers(2**31)))
        above += bool(np.nanmax(found.d) > found.limit)
    assert above <= 13  # 5 expected; a binomial of 100 and 5 % is above 13 in 1 of 2000
    phi, inside, owners = draw(rng, 40, 0.0)
    phi[7] += 6.0 * inside[7]
    found = vulnerability(phi, inside, owners, seed=0)
    assert int(np.argmax(found.d)) == 7
    assert found.d[7] > found.limit


def test_a_record_with_too_few_shadows_has_no_d() -> None:
    inside = np.array([[True, False]])
    found = vulnerability(np.array([[1.0, 0.0]]), inside, ["a"], seed=0)
    assert np.isnan(found.d).all()
    assert math.isnan(found.limit)


# -- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overrides": ["shadows=5"]}, "--set shadows=5: pass an even number"),
        ({"attacks": "loss,lira"}, "attack lira: compares shadow adapters, and there are none for LaMP-2"),
        ({"attacks": "rmia_item", "overrides": ["LaMP-2.shadows=2"]}, "none for LaMP-4"),
    ],
)
def test_what_a_plan_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as said:
        make_plan(**options)
    assert "\n" not in str(said.value)


def test_given_adapters_have_no_shadows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prime_audit.lamp.given.require_layout", lambda *_: None)
    for options in ({"overrides": ["shadows=4"]}, {"attacks": "lira"}):
        with pytest.raises(UserError, match=r"--sharers|leave it out") as said:
            make_plan(sharers=tmp_path, **options)
        assert "\n" not in str(said.value)


def test_more_shadows_than_the_items_carry_are_refused_before_training(
    make: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="items in play, which carry 6 shadow adapters") as said:
        make("many", "lira", "shadows=8")
    assert "\n" not in str(said.value)
    assert "adapt" not in capsys.readouterr().err
