"""What a record tells of how its run came about: costs, where adapters lie, what a reader is warned of."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prime_audit import Run, compare
from prime_audit.community import training
from prime_audit.engine.adapters import load_adapter
from prime_audit.engine.engine import Engine
from prime_audit.lamp.readers import read
from prime_audit.record import Cost
from tests.docs.examples import example

METHOD = '''"""A uniform soup."""
import numpy as np

from prime_audit.community.sharers import bank_name
from prime_audit.engine.mixture import Mixture
from prime_audit.plugins import Param, Personal, method


@method(source="a test", params=(Param("k", "preset:prime.k", "most similar sharers merged"),))
def personalise(scene, *, k):
    """Give every target the mean of her k nearest sharers' updates."""
    scene.community.ready()
    made = {}
    for user in scene.community.targets:
        near = scene.community.nearest(user.id, k)
        mixture = Mixture(tuple(bank_name(s) for s in near), np.full(len(near), 1 / len(near)))
        made[user.id] = Personal(mixture, near)
    return made
'''


def costs(run: Run) -> dict[tuple[str | None, str], Cost]:
    return {(c.method, c.stage): c for c in run.record.costs}


# -- costs -------------------------------------------------------------------------------------------------


def test_embedding_and_profiles_are_counted_whoever_does_them(
    quick: Callable[..., Run],
    small_data: Callable[[str], Path],
    model_folder: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    data = read(small_data("LaMP-4"))
    items = sum(len(u.history) for u in (*data.targets, *data.candidates))
    own = costs(quick("pag"))
    assert own[None, "embed"].requests == items
    assert own[None, "embed"].prompt_tokens > items
    others = {"encoder": str(model_folder("qwen2")), "profiler": "mini"}
    theirs = costs(quick("pag", out=tmp_path / "theirs", **others))
    assert theirs[None, "embed"].requests == items
    assert theirs[None, "embed"].prompt_tokens != own[None, "embed"].prompt_tokens  # another tokenizer
    written = theirs[None, "profiles"]
    assert written.requests >= len(data.adapt) + len(data.targets)
    assert written.prompt_tokens > 0
    assert written.new_tokens > 0


def test_no_text_is_scored_twice_under_one_model(
    quick: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Known non-members are in the passes of two games, and two targets have the same nearest sharer."""
    asked, plain = Counter[Any](), Engine._observe

    def counted(self: Engine, probes: Any, *rest: Any) -> Any:
        asked.update((p.prompt, self.content(p.mixture), p.golds) for p in probes)
        return plain(self, probes, *rest)

    monkeypatch.setattr(Engine, "_observe", counted)
    run = quick("np,nearest", games="paper,heldout,target", attacks="loss,rmia", cache=tmp_path / "cache")
    assert max(asked.values()) == 1
    read = sum(c.requests for c in run.record.costs if "signals" in c.stage)
    assert read > len(asked)  # the account of a pass has all that it needs, whoever asked first


# -- where adapters lie ------------------------------------------------------------------------------------


def test_the_record_says_where_sharers_adapters_lie(quick: Callable[..., Run], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    kept, none = quick("prime", cache=cache), quick("prime", out=tmp_path / "none")
    sharers = kept.record.community["LaMP-4"]["sharers"]
    assert sharers == none.record.community["LaMP-4"]["sharers"]
    assert len({s["adapter"] for s in sharers}) == len(sharers) == 4
    adapters = [load_adapter(cache / s["adapter"]) for s in sharers]
    assert {a.rank for a in adapters} == {2}
    entry = (cache / sharers[0]["adapter"]).parent
    assert sorted(p.name for p in entry.iterdir()) == [
        *("0000", "0001", "0002", "0003"),
        "cost.json",
        "manifest.json",
    ]
    bare = quick("rag", out=tmp_path / "rag", games="")
    assert not any("adapter" in s for s in bare.record.community["LaMP-4"]["sharers"])


def test_adapters_trained_by_other_code_are_not_read_back(
    quick: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {"cache": tmp_path / "cache", "games": ""}
    first = quick("prime", **words).record.community["LaMP-4"]["sharers"][0]["adapter"]
    again = quick("prime", **words, out=tmp_path / "again").record.community["LaMP-4"]["sharers"][0][
        "adapter"
    ]
    monkeypatch.setattr(training, "code_sha256", lambda _: "another")
    other = quick("prime", **words, out=tmp_path / "other").record.community["LaMP-4"]["sharers"][0][
        "adapter"
    ]
    assert first == again != other


# -- warnings ----------------------------------------------------------------------------------------------


@pytest.fixture
def spoilt(small_data: Callable[[str], Path], tmp_path: Path) -> Path:
    """Return LaMP-2 data with two of six questions in a candidate's history, one in her own, and one bad item."""
    import shutil

    folder = tmp_path / "movie_tagging"
    shutil.copytree(small_data("LaMP-2"), folder)
    asked = [(u.id, q) for u in read(folder).targets for q in u.queries]
    files = {name: json.loads((folder / name).read_text()) for name in ("user_anchor_candidate.json",)}
    profile = files["user_anchor_candidate.json"][0]["profile"]
    for place, (_, query) in enumerate(asked[:2]):
        profile[place]["description"] = query.fields["description"].upper()
    profile[2]["tag"] = "no tag of ours"
    (folder / "user_anchor_candidate.json").write_text(json.dumps(files["user_anchor_candidate.json"]))
    users = json.loads((folder / "test_100/user_test_100.json").read_text())
    users[0]["profile"][0]["description"] = asked[0][1].fields["description"]
    (folder / "test_100/user_test_100.json").write_text(json.dumps(users))
    return folder


def test_questions_that_sharers_may_have_seen_are_warned_of(spoilt: Path, tmp_path: Path) -> None:
    words = {
        "tasks": "LaMP-2",
        "data": str(spoilt),
        "overrides": ["clusters=4", "min_history=4"],
        "games": "",
    }
    run = compare("rag", **words, out=tmp_path / "run", cache=None, quiet=True)
    assert [w for w in run.record.warnings if "questions also occur" in w] == [
        "LaMP-2: 2 of 6 questions also occur in other users' histories (their golds may differ): sharers may have "
        "trained on them"
    ]
    (defective,) = [w for w in run.record.warnings if "defective" in w]
    assert defective.startswith("LaMP-2: 2 defective records in the data or in sharers' items, the first: ")
    assert f"list all with prime-audit data check {spoilt} --task LaMP-2, and" in defective
    assert any("is also one of the user's questions" in d for d in run.record.data[0].first_defects)


def test_the_check_says_so_too(say: Callable[..., Any], spoilt: Path) -> None:
    said = say("data", "check", spoilt, "--task", "LaMP-2")
    assert "targets' questions that are also in other users' histories: 2 of 6" in said.out
    assert said.out.count("is also one of the user's questions") == 1


# -- methods that fail, and methods that are one -----------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "scene.community.ready()",
            "raise KeyError('x')",
            "method mine failed: KeyError: 'x'; see prime-audit doctor mine [--plugin FILE]",
        ),
        (
            "return made",
            "return None",
            "method mine must return {target id: Personal}; see prime-audit doctor mine [--plugin FILE]",
        ),
        ("Personal(mixture, near)", "mixture", "method mine must return {target id: Personal}"),
    ],
)
def test_a_methods_fault_is_one_line(
    quick: Callable[..., Run], tmp_path: Path, old: str, new: str, message: str
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(METHOD.replace(old, new))
    (failure,) = quick("mine", plugins=[file]).record.failures
    assert (failure.method, failure.stage, failure.targets) == ("mine", "personalise", 3)
    assert failure.error.startswith(message)
    assert "\n" not in failure.error


def test_a_front_methods_fault_is_one_line(quick: Callable[..., Run], tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        '"""A test."""\nfrom prime_audit.plugins import method\n\n\n'
        '@method(source="a test", augments=True)\ndef front(*, alone):\n    """X."""\n    return 1 / 0\n'
    )
    (failure,) = quick("mine", plugins=[file]).record.failures
    assert (failure.method, failure.stage) == ("mine", "answer")
    assert (
        failure.error
        == "method mine failed: ZeroDivisionError: division by zero; see prime-audit doctor mine [--plugin FILE]"
    )


def test_the_method_of_the_docs_plays_every_game(quick: Callable[..., Run], tmp_path: Path) -> None:
    (tmp_path / "halving.py").write_text(example("halving.py"), encoding="utf-8")
    run = quick("halving:k=3", plugins=[tmp_path / "halving.py"], games="paper,heldout,inclusion")
    games = {
        r.game for r in run.record.results if r.method == "halving:k=3" and r.metric == "auc" and not r.reason
    }
    assert {"paper", "heldout"} <= games
    why = {r.reason or "" for r in run.record.results if (r.method, r.game) == ("halving:k=3", "inclusion")}
    assert why  # played, or all coins alike; but never refused
    assert not [w for w in why if "merges nobody" in w or "did not include" in w]


def test_one_core_under_two_labels_is_trained_once(quick: Callable[..., Run], tmp_path: Path) -> None:
    run = quick("oppu,oppu:recipe=sharers")
    assert run.record.spec["methods"] == ["np", "oppu"]
    two = quick("oppu+rag,oppu:recipe=sharers+pag", out=tmp_path / "two")
    assert two.record.spec["methods"] == ["np", "oppu+rag", "oppu:recipe=sharers+pag"]
    assert len([c for c in two.record.costs if c.stage == "own adapters"]) == 1
