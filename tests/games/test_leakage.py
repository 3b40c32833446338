"""Who is a member, what attacks are given, and what stands beside every figure: one run with every attack."""

from __future__ import annotations

import json
import pickle
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from prime_audit import Run, compare
from prime_audit.audit.permutation import PERMUTATIONS
from prime_audit.audit.pool import Pool
from prime_audit.audit.signals import FIELDS, ITEM_FIELDS, Signals
from prime_audit.audit.verdict import Word
from prime_audit.games.exam.observed import WHITE_BOX
from prime_audit.games.exam.queries import PREFIX
from prime_audit.plugins import Audited
from prime_audit.plugins.loading import available, load_attack, load_game

ELSEWHERE = {*ITEM_FIELDS, *WHITE_BOX}
"""Signals that need shadow adapters, or a single adapter's factors."""
SEEN = tuple(name for name in FIELDS if name not in ELSEWHERE)
BUILT_IN = sorted(
    name
    for name, plugin in available("attack").items()
    if plugin.module.startswith("prime_attacks.") and not {*load_attack(name).needs} & ELSEWHERE
)
LAST = 3
SPY = f'''"""Every item a number of its own, which tells the call and the place; what was given is kept."""
import pickle
from pathlib import Path
import numpy as np
from prime_audit.plugins import attack

FOLDER = Path(__file__).parent / "calls"

@attack(source="a test", needs={SEEN!r})
def spy(signals):
    """Keep the signals."""
    FOLDER.mkdir(exist_ok=True)
    call = len(list(FOLDER.iterdir()))
    (FOLDER / str(call)).write_bytes(pickle.dumps({{n: getattr(signals, n) for n in {SEEN!r}}}))
    return call * 1000 + np.arange(len(signals.texts), dtype=float)
'''
HALF = '''"""Undefined where the gold has an odd number of letters, infinite on the first item."""
import numpy as np
from prime_audit.plugins import attack

@attack(source="a test", needs=("texts",))
def half(signals):
    """Number of letters."""
    sizes = np.array([len(text) for text in signals.texts], dtype=float)
    sizes[0] = np.inf
    return np.where([len(text) % 2 == 1 and i > 0 for i, text in enumerate(signals.texts)], np.nan, sizes)
'''
MUTE = HALF.replace("len(text) % 2 == 1 and i > 0", "True")


@dataclass(frozen=True)
class Seen:
    """A finished run, and what the spy saw of it."""

    run: Run
    folder: Path
    data: Path
    pools: list[Pool]

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        return list(self.run.scores())

    @cached_property
    def merged(self) -> dict[tuple[str, str], set[str]]:
        lines = (self.run.path / "models.jsonl").read_text(encoding="utf-8").splitlines()
        return {(m["method"], m["target"]): set(m["sharers"]) for m in map(json.loads, lines)}

    def of(self, attack: str) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
        """Sort an attack's rows by (method, game, target), in their order."""
        found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        for row in self.rows:
            if row["attack"] == attack:
                found.setdefault((row["method"], row["game"], row["target"]), []).append(row)
        return found

    def call(self, number: int) -> Signals:
        return Signals(**pickle.loads((self.folder / "calls" / str(number)).read_bytes()))

    @cached_property
    def calls(self) -> dict[tuple[str, str, str], Signals]:
        """What attacks were given in each game: the spy's scores name the call."""
        found = {}
        for key, rows in self.of("spy").items():
            (call,) = {int(row["score"]) // 1000 for row in rows}
            assert [row["score"] % 1000 for row in rows] == list(range(len(rows)))
            found[key] = self.call(call)
        return found

    @cached_property
    def base_calls(self) -> list[Signals]:
        """What the unmerged base was given instead."""
        own = {int(row["score"]) // 1000 for row in self.rows if row["attack"] == "spy"}
        everything = {int(path.name) for path in (self.folder / "calls").iterdir()}
        return [self.call(number) for number in sorted(everything - own)]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, small: Sequence[str]) -> Seen:
    """Run every built-in attack, and three of this test, in both games on data with copied items."""
    import torch

    from prime_audit.games.exam.queries import Reader
    from prime_audit.lamp.world.world import write_world

    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("leakage")
    sizes = {"users": 16, "adapt": 2, "targets": 3, "history": (11, 13), "queries": 1, "clusters": 3}
    data = write_world("LaMP-4", root, **sizes)
    _copy_items(data / "user_anchor_candidate.json")
    files = {name: root / f"{name}.py" for name in ("spy", "half", "mute")}
    for path, text in zip(files.values(), (SPY, HALF, MUTE), strict=True):
        path.write_text(text, encoding="utf-8")
    pools: list[Pool] = []
    with pytest.MonkeyPatch.context() as patch:
        plain = Reader.__init__

        def watched(self: Reader, *words: Any, **more: Any) -> None:
            plain(self, *words, **more)
            pools.append(self.pool)

        patch.setattr(Reader, "__init__", watched)
        run = compare(
            "prime,perpcs",
            tasks="LaMP-4",
            attacks=[*BUILT_IN, *files],
            games="paper,heldout",
            data=str(data),
            overrides=[*small, "heldout=0.35", f"last_items={LAST}", "prime.budget=3"],
            plugins=list(files.values()),
            out=root / "run",
            cache=None,
            quiet=True,
        )
    return Seen(run, root, data, pools)


def _copy_items(path: Path) -> None:
    """Give every candidate's last four items the same words, but for case."""
    users = json.loads(path.read_text(encoding="utf-8"))
    for place, user in enumerate(users):
        for own, common in zip(user["profile"][-4:], users[0]["profile"][-4:], strict=True):
            own |= {k: v.upper() if place % 2 else v for k, v in common.items() if k != "id"}
    path.write_text(json.dumps(users), encoding="utf-8")


# -- the games ---------------------------------------------------------------------------------------------


def test_the_heldout_game_is_balanced_over_the_whole_history_and_apart_from_training(seen: Seen) -> None:
    users = json.loads((seen.data / "user_anchor_candidate.json").read_text(encoding="utf-8"))
    history = {u["user_id"]: [item["id"] for item in u["profile"]] for u in users}
    counts = {s["user"]: s for s in seen.run.record.community["LaMP-4"]["sharers"]}
    early = 0
    for (method, game, target), rows in seen.of("loss").items():
        assert len({row["item"] for row in rows}) == len(rows)
        if game == "paper":
            continue
        assert {row["sharer"] for row in rows} == seen.merged[method, target]
        other = seen.of("loss")[method, "paper", target]
        for sharer in seen.merged[method, target]:
            kept, out = (
                [_item(r) for r in rows if r["sharer"] == sharer and r["member"] is m] for m in (True, False)
            )
            assert len(kept) == len(out) == counts[sharer]["heldout"] == int(0.35 * len(history[sharer]))
            trained = [i for i in history[sharer] if i not in out]
            assert len(trained) == counts[sharer]["trained"]
            assert set(kept) <= set(trained)
            assert {_item(r) for r in other if r["sharer"] == sharer} == set(trained[-LAST:])
            early += len(set(kept) - set(trained[-LAST:]))
    assert early


def _item(row: dict[str, Any]) -> str:
    user, item, kind = row["item"].split("/")
    assert user == row["sharer"]
    assert kind == "plain" or row["game"] == "paper"
    return str(item)


def test_the_paper_game_sets_merged_sharers_against_all_others(seen: Seen) -> None:
    everyone = {s["user"] for s in seen.run.record.community["LaMP-4"]["sharers"]}
    for (method, game, target), rows in seen.of("loss").items():
        if game == "paper":
            assert {row["sharer"] for row in rows if row["member"]} == seen.merged[method, target]
            assert {r["sharer"] for r in rows if not r["member"]} == everyone - seen.merged[method, target]
            assert {row["item"].split("/")[2] for row in rows} == {"plain", "augmented"}


def test_the_population_is_of_people_who_share_nothing(seen: Seen) -> None:
    (pool,) = seen.pools
    sharing = set(pool.owners)
    users = json.loads((seen.data / "user_anchor_candidate.json").read_text(encoding="utf-8"))
    golds = {item["title"] for u in users if u["user_id"] not in sharing for item in u["profile"]}
    assert pool.population
    assert {gold for _, gold in pool.population} <= golds
    assert not {*zip(pool.prompts, pool.golds, strict=True)} & set(pool.population) - _copied(users)
    assert all(len(s.population_logprobs) == len(pool.population) - PREFIX for s in seen.calls.values())


def _copied(users: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """List the items this test itself copied to everybody, as rows of the pool may hold them."""
    from prime_audit.lamp.tasks import TASKS

    return {
        (TASKS["LaMP-4"].training.format(**item), item["title"]) for u in users for item in u["profile"][-4:]
    }


def pool(owners: Sequence[str], trained: Sequence[bool]) -> Pool:
    some, marks = ["x"] * len(owners), np.array(trained, dtype=np.bool_)
    texts = {"owners": owners, "ids": some, "prompts": some, "golds": some}
    every = np.ones(len(owners), dtype=np.bool_)
    return Pool(**texts, trained=marks, last=marks, drawn=every, twins=[()] * len(owners))


@pytest.mark.parametrize(
    ("game", "merged", "trained", "reason"),
    [
        ("paper", (), (1, 0, 1, 0), "merges nobody: no members"),
        ("paper", ("a", "b"), (1, 0, 1, 0), "merges every sharer: no non-members"),
        ("paper", ("c",), (1, 0, 1, 0), "no item is a member's: no members"),
        ("paper", ("a",), (1, 1, 0, 0), "every item is a member's: no non-members"),
        ("heldout", (), (1, 0, 1, 0), "merges nobody: no members"),
        ("heldout", ("a",), (1, 1, 1, 0), "no merged sharer has held-out items: no non-members"),
        ("heldout", ("a",), (0, 0, 1, 0), "no item is a member's: no members"),
    ],
)
def test_a_game_that_says_nothing_gives_its_reason(
    game: str, merged: Sequence[str], trained: Sequence[int], reason: str
) -> None:
    audited = Audited(target="t", merged=merged)
    dealt = load_game(game).deal(audited, pool("aabb", [bool(t) for t in trained]))
    assert (dealt.reason, len(dealt.rows), len(dealt.members)) == (reason, 0, 0)


def test_a_reason_stands_where_a_figure_would_and_never_a_half(seen: Seen) -> None:
    for result in seen.run.record.results:
        if not result.metric.startswith("auc"):
            continue
        if result.method == "np":
            assert (result.value, result.ci, result.n) == (None, None, 0)
            assert result.reason == "merges nobody: no members"
        elif result.attack == "mute":
            assert result.value is None
            assert re.match(r"the score is undefined for all \d+ items", result.reason or "")
        elif result.attack == "user_level" and result.game == "heldout":
            assert result.value is None
            assert result.reason == "scores people, and here each person has items on both sides"
    assert "mute" not in {row["attack"] for row in seen.rows}
    assert not [leak for leak in seen.run.record.leaks if leak.attack == "mute" or leak.method == "np"]


# -- what attacks are given --------------------------------------------------------------------------------


def test_shadow_models_are_the_other_targets_modules(seen: Seen) -> None:
    sizes = set()
    for (method, game, target), signals in seen.calls.items():
        rows = seen.of("spy")[method, game, target]
        known = {
            other: {r["item"]: -s.mean() for r, s in zip(seen.of("spy")[key], call.logprobs, strict=True)}
            for key, call in seen.calls.items()
            if (other := key[2]) != target and key[:2] == (method, game)
        }
        assert len(known) == 2
        for place, row in enumerate(rows):
            inside = [o for o in known if row["sharer"] in seen.merged[method, o]]
            outside = [o for o in known if o not in inside]
            found = np.sort(signals.in_nll[place])
            np.testing.assert_allclose(found, sorted(known[o][row["item"]] for o in inside), rtol=1e-9)
            assert signals.out_nll[place][0] == pytest.approx(-signals.base_logprobs[place].mean(), rel=1e-9)
            assert len(signals.out_nll[place]) == 1 + len(outside)
            if game == "paper":  # every target is asked for every sharer's items
                wanted = sorted(known[o][row["item"]] for o in outside)
                np.testing.assert_allclose(np.sort(signals.out_nll[place][1:]), wanted, rtol=1e-9)
            sizes.add(len(inside))
    assert len(sizes) > 1


def test_attacks_get_the_items_in_the_rows_order(seen: Seen) -> None:
    (whole,) = seen.pools
    gold = dict(zip(whole.ids, whole.golds, strict=True))
    prompt = dict(zip(whole.ids, whole.prompts, strict=True))
    for key, signals in seen.calls.items():
        rows = seen.of("spy")[key]
        assert list(signals.owners) == [row["sharer"] for row in rows]
        assert list(signals.texts) == [gold[row["item"]] for row in rows]
        assert list(signals.prompts) == [prompt[row["item"]] for row in rows]
        for mu, sigma, logprobs in zip(signals.mu, signals.sigma, signals.logprobs, strict=True):
            assert mu.shape == sigma.shape == logprobs.shape
            assert (sigma >= 0).all()
    for signals in seen.base_calls:
        for own, base in zip(signals.logprobs, signals.base_logprobs, strict=True):
            np.testing.assert_array_equal(own, base)


# -- the figures -------------------------------------------------------------------------------------------


def test_every_attack_has_its_figure_in_both_games(seen: Seen) -> None:
    want = {(m, g, a) for m in ("prime", "perpcs") for g in ("paper", "heldout") for a in BUILT_IN}
    figures = {
        (r.method, r.game, r.attack): r.value
        for r in seen.run.record.results
        if r.metric == "auc" and r.value is not None
    }
    people = {(m, "heldout", "user_level") for m in ("prime", "perpcs")}
    assert not people & set(figures)
    assert want - set(figures) - people <= {
        (m, g, "lira_online") for m in ("prime", "perpcs") for g in ("paper", "heldout")
    }
    for (method, game, attack), value in figures.items():
        groups = [rows for key, rows in seen.of(attack).items() if key[:2] == (method, game)]
        aucs = [roc_auc_score([r["member"] for r in g], [r["score"] for r in g]) for g in groups]
        assert value == pytest.approx(np.mean(aucs), abs=1e-12)


FORMULAS: dict[str, Callable[[Signals, int], float]] = {
    "loss": lambda s, i: float(s.logprobs[i].sum()),
    "loss_mean": lambda s, i: float(s.logprobs[i].mean()),
    "reference": lambda s, i: float(s.logprobs[i].mean() - s.base_logprobs[i].mean()),
    "ratio": lambda s, i: float(-s.logprobs[i].mean() / s.base_logprobs[i].mean()),
    "recall": lambda s, i: float(s.prefix_logprobs[i].mean() / s.logprobs[i].mean()),
    "mink": lambda s, i: float(np.sort(s.logprobs[i])[: max(1, len(s.logprobs[i]) // 5)].mean()),
}


@pytest.mark.parametrize("attack", FORMULAS)
def test_scores_follow_from_the_signals(seen: Seen, attack: str) -> None:
    for key, rows in seen.of(attack).items():
        for place, row in enumerate(rows):
            assert row["score"] == pytest.approx(FORMULAS[attack](seen.calls[key], place), rel=1e-9)


def control(seen: Seen, method: str, game: str, metric: str, attack: str) -> float | None:
    (value,) = [
        r.value
        for r in seen.run.record.results
        if (r.method, r.game, r.metric, r.attack) == (method, game, metric, attack)
    ]
    return value


@pytest.mark.parametrize("method", ["prime", "perpcs"])
@pytest.mark.parametrize("game", ["paper", "heldout"])
def test_controls_never_ask_the_personalised_model(seen: Seen, method: str, game: str) -> None:
    near = seen.run.record.community["LaMP-4"]
    place = {s["user"]: n for n, s in enumerate(near["sharers"])}
    aucs: dict[str, list[float]] = {"length_only": [], "similarity_only": [], "loss": [], "zlib": []}
    for (own, played, target), signals in seen.calls.items():
        if (own, played) != (method, game):
            continue
        members = [row["member"] for row in seen.of("spy")[own, played, target]]
        scores: dict[str, Any] = {
            "length_only": [-len(row) for row in signals.logprobs],
            "similarity_only": [near["similarity"][target][place[owner]] for owner in signals.owners],
            "loss": [row.sum() for row in signals.base_logprobs],
        }
        unmerged = Signals(logprobs=signals.base_logprobs, texts=signals.texts)
        scores["zlib"] = load_attack("zlib").score(unmerged)
        for name, found in scores.items():
            aucs[name].append(roc_auc_score(members, found))
    for name in ("length_only", "similarity_only"):
        assert control(seen, method, game, f"auc_{name}", "loss") == pytest.approx(np.mean(aucs[name]))
    for attack in ("loss", "zlib"):
        assert control(seen, method, game, "auc_base", attack) == pytest.approx(np.mean(aucs[attack]))
    assert control(seen, method, game, "auc_bag_of_words", "loss") is not None


def test_every_figure_has_its_panel_and_a_verdict(seen: Seen) -> None:
    results = {
        (r.method, r.game, r.attack, r.metric): r.value
        for r in seen.run.record.results
        if r.metric.startswith("auc") and r.value is not None
    }
    leaks = {(x.method, x.game, x.attack): x for x in seen.run.record.leaks}
    assert set(leaks) == {key[:3] for key in results if key[3] == "auc"}
    for key, leak in leaks.items():
        assert leak.auc == results[*key, "auc"]
        assert leak.verdict in get_args(Word)
        assert leak.why
        controls = {
            k[3].removeprefix("auc_"): v for k, v in results.items() if k[:3] == key and k[3] != "auc"
        }
        assert leak.best_control is not None
        if leak.game == "paper":  # it restates how members were selected
            assert leak.verdict != "leaks"
            assert controls.pop("similarity_only") == 1.0
        assert controls[leak.best_control] == max(controls.values())
        assert leak.over_control == pytest.approx(leak.auc - controls[leak.best_control])
        rows = [r for k, own in seen.of(key[2]).items() if k[:2] == key[:2] for r in own]
        assert (leak.members, leak.others) == tuple(
            sum(r["member"] is m for r in rows) for m in (True, False)
        )
        assert leak.tpr["0.001"] is None


def test_p_is_corrected_over_the_attacks_and_methods_of_a_game(seen: Seen) -> None:
    for game in {leak.game for leak in seen.run.record.leaks}:
        own = [x for x in seen.run.record.leaks if x.game == game and x.p is not None]
        assert len(own) >= len(BUILT_IN)
        for leak in own:
            assert leak.p is not None
            assert leak.p_tail is not None
            assert leak.p_adjusted is not None
            assert min(leak.p, leak.p_tail) <= leak.p_adjusted
            assert leak.q == leak.p_adjusted  # one task
            assert leak.relabellings == PERMUTATIONS


def test_undefined_items_are_counted_and_get_the_median(seen: Seen) -> None:
    for leak in (x for x in seen.run.record.leaks if x.attack == "half"):
        count = 0
        for key, rows in seen.of("half").items():
            if key[:2] != (leak.method, leak.game):
                continue
            sizes = [len(text) for text in seen.calls[key].texts]
            known = [float(n) for i, n in enumerate(sizes) if n % 2 == 0 and i] + [1e300]
            for place, (row, size) in enumerate(zip(rows, sizes, strict=True)):
                odd = size % 2 == 1 and place
                wanted = np.median(known) if odd else size if place else 1e300
                assert row["score"] == pytest.approx(wanted)
                count += bool(odd)
        assert leak.undefined == count > 0
    assert {x.undefined for x in seen.run.record.leaks if x.attack in FORMULAS} == {0}
    written = " ".join((seen.run.path / "table.md").read_text(encoding="utf-8").split())
    assert re.search(r"half, game paper \([^)]+\): \d+ of [\d,]+ items undefined", written)


def test_texts_that_stand_on_both_sides_are_counted(seen: Seen) -> None:
    (whole,) = seen.pools
    users = json.loads((seen.data / "user_anchor_candidate.json").read_text(encoding="utf-8"))
    copied = tuple(" ".join(re.findall(r"\w+", f"{p} {g}".casefold())) for p, g in _copied(users))
    words = {
        name: " ".join(re.findall(r"\w+", f"{p} {g}".casefold()))
        for name, p, g in zip(whole.ids, whole.prompts, whole.golds, strict=True)
    }
    least, most = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for (method, game, _), rows in seen.of("loss").items():
        sides = [{words[r["item"]] for r in rows if r["member"] is m} for m in (True, False)]
        twins = {r["item"] for r in rows if words[r["item"]] in sides[0] & sides[1]}
        copies = {r["item"] for r in rows if not r["member"] and words[r["item"]].endswith(copied)}
        least[method, game] += len(twins)
        # A merged sharer may have trained on a copy that is not in play, or stands behind another front.
        most[method, game] += len(twins | copies)
    for leak in seen.run.record.leaks:
        key = leak.method, leak.game
        assert least[key] <= leak.both_sides <= most[key]
    assert least["prime", "paper"] > 0
