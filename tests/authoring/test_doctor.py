"""``doctor`` passes what keeps the contract and names what does not; ``new`` writes what passes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prime_audit.audit.auc import auc
from prime_audit.audit.simulated import game
from prime_audit.authoring.doctor import Check, examine
from prime_audit.errors import UserError
from prime_audit.plugins.loading import available

BUILT_IN = sorted(n for n, p in available("attack").items() if p.origin == "prime-audit")
HEAD = '''"""A test's attack."""
import numpy as np
from prime_audit.audit.signals import mean_nll
from prime_audit.plugins import attack


@attack(source="a test", needs=("logprobs", "base_logprobs"))
def score(signals):
    """Whatever the test says."""
    plain = mean_nll(signals.base_logprobs) - mean_nll(signals.logprobs)
'''


def failed(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks if not check.ok}


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_attack_in_the_box_is_well(name: str) -> None:
    checks = examine(name)
    assert [c.line() for c in checks if not c.ok] == []
    assert [c.name for c in checks] == [
        *("loads", "described", "needs", "shape", "finite", "odd items", "untouched", "deterministic"),
        *("order of items", "higher = member", "no leak, no signal", "cost"),
    ]


def test_a_planted_leak_is_in_every_field() -> None:
    def area(scores: Any, members: np.ndarray) -> float:
        return auc(scores[members], scores[~members])

    made = game(3, 1.5)
    signals, members = made.signals, made.members
    means = {n: np.array([r.mean() for r in getattr(signals, n)]) for n in ("logprobs", "base_logprobs")}
    gain = means["logprobs"] - means["base_logprobs"]
    assert area(gain, members) > 0.95
    for name in ("prefix_logprobs", "lower_logprobs"):
        rest = np.array([r.mean() for r in getattr(signals, name)]) - means["base_logprobs"]
        assert 0.35 < area(rest, members) < 0.65
    inside, outside = (np.array([r.mean() for r in rows]) for rows in (signals.in_nll, signals.out_nll))
    assert (inside < outside).mean() > 0.95
    whole = {(o, bool(m)) for o, m in zip(signals.owners, members, strict=True)}
    assert len(whole) == len(set(signals.owners)) == 24
    assert members.mean() == 0.5
    for logprobs, mu, sigma in zip(signals.logprobs, signals.mu, signals.sigma, strict=True):
        assert (logprobs <= 0).all()
        assert (mu <= 0).all()
        assert (sigma >= 0).all()
        assert len(logprobs) == len(mu) == len(sigma)


@pytest.mark.parametrize(
    ("body", "check", "message"),
    [
        ("return -plain", "higher = member", "it is reversed: return its negative, so that higher = member"),
        ("return 0 * plain", "higher = member", "AUC 0.500 on planted leaks"),
        ("return plain[:-1]", "shape", "returned scores of shape (95,) for 96 items"),
        ("return ['x' for _ in plain]", "shape", "returned no numbers"),
        ("return plain + signals.mu", "needs", "signal 'mu' was not computed: name it in the attack's needs"),
        ("return plain / [len(r) for r in signals.nothing]", "needs", "nothing"),
        ("raise RuntimeError('out of luck')", "needs", "fails on a plain game: RuntimeError: out of luck"),
        ("return np.where(plain < np.median(plain), np.nan, plain)", "finite", "240 of 480 undefined"),
        ("return np.where(plain < 0, -np.inf, plain)", "finite", "infinite"),
        ("return plain + np.random.random(plain.size)", "deterministic", "same signals, other scores"),
        (
            "return plain + np.arange(plain.size) / 30",
            "order of items",
            "scores change when the items change",
        ),
        ("signals.logprobs[0][:] = -1; return plain", "untouched", "changes logprobs in place"),
        ("return plain - plain[4] if plain[95] else plain", "odd items", "IndexError"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, body: str, check: str, message: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f"{HEAD}    {body}\n", encoding="utf-8")
    found = failed(examine("mine", [file]))
    assert message in found[check].line()
    assert found[check].line().startswith("FAIL  ")
    assert "\n" not in found[check].line()


@pytest.mark.parametrize(
    ("needs", "body", "wrong"),
    [
        (
            ("logprobs", "base_logprobs", "mu", "base_mu", "sigma", "top", "prefix_logprobs"),
            "rows = zip(signals.logprobs, signals.base_logprobs, signals.mu, signals.base_mu, signals.sigma,"
            " signals.top, signals.prefix_logprobs)\n"
            "    return np.array([((p - b) + (m - n) * 0 * s * t + 0 * q).mean() for p, b, m, n, s, t, q in rows])",
            [],
        ),
        (
            ("continuations", "texts"),
            "table = np.array([[len({*c.split()} & {*t.split()}) for c in row]"
            " for row, t in zip(signals.continuations, signals.texts)])\n    return table.mean(axis=1)",
            [],
        ),
        (
            ("logprobs", "lower_logprobs"),
            "return np.array([(p - q).mean() for p, q in zip(signals.logprobs, signals.lower_logprobs)])",
            ["needs"],
        ),
    ],
    ids=["tokens", "samples", "tokens of another text"],
)
def test_simulated_signals_are_as_long_as_a_runs(
    tmp_path: Path, needs: tuple[str, ...], body: str, wrong: list[str]
) -> None:
    file = tmp_path / "mine.py"
    head = HEAD.partition("    plain =")[0].replace('("logprobs", "base_logprobs")', repr(needs))
    file.write_text(f"{head}    {body}\n", encoding="utf-8")
    assert list(failed(examine("mine", [file]))) == wrong


def test_a_score_that_knows_the_members_fails_where_there_is_no_leak(tmp_path: Path) -> None:
    # Members are told by their owners' place in a list the attack should not have.
    file = tmp_path / "mine.py"
    text = HEAD.replace('"base_logprobs")', '"base_logprobs", "owners")')
    cheat = (
        "    from prime_audit.audit.simulated import game\n"
        "    for seed in [*range(5), *range(1000, 1060)]:\n"
        "        for leak in (0.0, 1.5):\n"
        "            made = game(seed, leak)\n"
        "            if np.array_equal(made.signals.logprobs[0], signals.logprobs[0]):\n"
        "                return made.members * 1.0\n"
        "    return plain\n"
    )
    file.write_text(text + cheat, encoding="utf-8")
    assert "AUC 1.000" in failed(examine("mine", [file]))["no leak, no signal"].found


def test_a_slow_attack_fails_on_its_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prime_audit.authoring import doctor_attack

    monkeypatch.setattr(doctor_attack, "SLOW", 1e-9)
    assert list(failed(examine("loss"))) == ["cost"]


def test_signals_that_are_declared_and_not_read_are_told(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(HEAD.replace('"base_logprobs")', '"base_logprobs", "mu")') + "    return plain\n")
    (needs,) = [c for c in examine("mine", [file]) if c.name == "needs"]
    assert needs.ok
    assert "never reads mu: drop it" in needs.found


def test_the_command_says_a_line_a_check(tmp_path: Path, say: Callable[..., Any]) -> None:
    well = say("doctor", "loss")
    assert (well.code, well.err) == (0, "")
    assert all(line.startswith("ok    ") for line in well.out.splitlines())
    file = tmp_path / "mine.py"
    file.write_text(f"{HEAD}    return -plain\n", encoding="utf-8")
    ill = say("doctor", "mine", "--plugin", file)
    assert ill.code == 1
    assert len([line for line in ill.out.splitlines() if line.startswith("FAIL")]) == 1
    unknown = say("doctor", "oppuu")
    assert (unknown.code, unknown.out) == (2, "")
    assert unknown.err == "prime-audit: unknown name 'oppuu': did you mean oppu?\n"
    file.write_text("import nothing_of_the_kind\n@attack(", encoding="utf-8")
    broken = say("doctor", "mine", "--plugin", file)
    assert broken.code == 1
    assert broken.out.startswith("FAIL  loads: attack mine: ")
    assert len(broken.out.splitlines()) == 1


def test_attacks_are_examined_without_torch() -> None:
    code = (
        "import sys; from prime_audit.authoring.doctor import examine; examine('rmia');"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- methods -----------------------------------------------------------------------------------------------

METHOD = '''"""Everybody gets the nearest sharer's adapter."""
from prime_audit.community.sharers import bank_name
from prime_audit.engine.mixture import alone
from prime_audit.plugins import Param, Personal, method


@method(source="a test", params=(Param("rank", 1, "1 is the nearest sharer"),))
def personalise(scene, *, rank):
    """Copy one sharer."""
    scene.community.ready()
    near = {u.id: scene.community.nearest(u.id, rank)[-1] for u in scene.community.targets}
    return {target: Personal(alone(bank_name(s)), (s,)) for target, s in near.items()}
'''


@pytest.mark.parametrize("name", ["rag", "pag"])
def test_methods_of_the_prompt_are_well(name: str) -> None:
    assert [c.line() for c in examine(name) if not c.ok] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["np", "oppu", "perpcs", "prime", "soup", "nearest", "ties", "dare", "core", "mta", "random"],
)
def test_methods_in_the_box_are_well(name: str) -> None:
    checks = examine(name)
    assert [c.line() for c in checks if not c.ok] == []
    assert {"runs", "one model a target", "deterministic", "members", "inclusion"} <= {c.name for c in checks}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "check", "message"),
    [
        ("", "", None, ""),
        ("(s,))", "())", "members", "is merged, not declared; Personal.sharers are those"),
        ("in near.items()}", "in list(near.items())[1:]}", "runs", "made no model for user"),
        ("(s,))", "('nobody',))", "runs", "merges 'nobody', who shares nothing"),
        ("scene.community.ready()", "raise KeyError('x')", "runs", "KeyError: 'x'"),
        ("return {", "import os; return {", "deterministic", "same seed, other models"),
        ("rank)[-1]", "4)[3]", "inclusion", "IndexError"),
        (
            "scene.community.nearest(u.id, rank)[-1]",
            "max((s.user.id for s in scene.community.sharers), "
            "key=lambda s: s not in scene.community.nearest(u.id, 1))",
            "inclusion",
            "merges sharers that its coins did not include; merge only sharers that",
        ),
    ],
)
def test_what_is_wrong_with_a_method_is_named(
    tmp_path: Path, old: str, new: str, check: str | None, message: str
) -> None:
    text = METHOD.replace(old, new)
    if check == "deterministic":
        text = text.replace("(s,))", "(s,), {'draw': os.urandom(4).hex()})")
    file = tmp_path / "mine.py"
    file.write_text(text, encoding="utf-8")
    found = failed(examine("mine", [file]))
    assert list(found) == ([check] if check else [])
    if check:
        assert message in found[check].line()


@pytest.mark.slow
@pytest.mark.parametrize(("told", "message"), [(True, None), (False, "is declared, with no weight")])
def test_adapters_made_of_sharers_say_of_whose(tmp_path: Path, told: bool, message: str | None) -> None:
    old = "return {target: Personal(alone(bank_name(s)), (s,)) for target, s in near.items()}"
    new = (
        "made = united(scene.community, scene.stage, ({s} for s in near.values()), Trim('ties', 0.5, 'factor'))\n"
        f"    if not {told}: scene.engine.bank.made_of.clear()\n"
        "    return {t: Personal(alone(made[frozenset({s})][0]), (s,)) for t, s in near.items()}"
    )
    file = tmp_path / "mine.py"
    text = METHOD.replace(old, new).replace(
        "\n\n\n",
        "\nfrom prime_audit.community.trim import Trim\nfrom prime_audit.community.unite import united\n\n\n",
        1,
    )
    file.write_text(text, encoding="utf-8")
    found = failed(examine("mine", [file]))
    assert list(found) == (["members"] if message else [])
    if message:
        assert message in found["members"].line()
        assert "bank.add(…, made_of=…)" in found["members"].line()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"1 is the nearest sharer"', '""', "rank has no help"),
        ("*, rank", "*, k", "k, rank must be both in the signature and in params"),
        ('"rank", 1,', '"rank", "preset:prime.ranks",', "rank: default 'preset:prime.ranks' cannot be read"),
    ],
)
def test_parameters_are_documented_and_taken(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(METHOD.replace(old, new), encoding="utf-8")
    assert message in failed(examine("mine", [file]))["parameters"].line()


# -- new ---------------------------------------------------------------------------------------------------


def test_a_new_plugin_is_described_without_its_name_twice(tmp_path: Path, say: Callable[..., Any]) -> None:
    summaries = {
        "attack": "The typical token",
        "game": "Merged sharers' earlier trained items",
        "method": "The most similar sharers",
    }
    for kind, summary in summaries.items():
        say("new", kind, "early", "--out", tmp_path / kind)
        told = say("describe", "early", "--plugin", tmp_path / kind / "early.py").out
        assert told.startswith(f"early: {summary}")


def test_a_description_says_what_a_plugin_costs_and_where_it_applies(say: Callable[..., Any]) -> None:
    for name, words in {"samia": "generates", "gradnorm": "only in games that query single"}.items():
        first, second, *_ = say("describe", name).out.splitlines()
        assert first.startswith(f"{name}: ")
        assert words in second


@pytest.mark.parametrize("kind", ["attack", pytest.param("method", marks=pytest.mark.slow)])
def test_a_new_plugin_passes_its_own_test(tmp_path: Path, say: Callable[..., Any], kind: str) -> None:
    said = say("new", kind, "typical", "--out", tmp_path / "mine")
    assert said.code == 0, said.err
    assert {p.name for p in (tmp_path / "mine").iterdir()} == {"typical.py", "test_typical.py"}
    file = tmp_path / "mine" / "typical.py"
    assert f"prime-audit doctor typical --plugin {file}" in " ".join(said.out.split())
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_typical.py"],
        cwd=tmp_path / "mine",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("My-Attack", "use small letters, digits and _, beginning with a letter"),
        ("_mine", "use small letters"),
        ("class", "use small letters"),
        ("test_it", "use small letters"),
        ("../mine", "use small letters"),
        ("loss", "the name is taken by attack loss of prime-audit"),
        ("prime", "the name is taken by method prime of prime-audit"),
    ],
)
def test_bad_names_are_refused(tmp_path: Path, say: Callable[..., Any], name: str, message: str) -> None:
    said = say("new", "attack", name, "--out", tmp_path / "mine")
    assert said.code == 2
    assert message in said.err
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("file", ["mine.py", "test_mine.py"])
def test_nothing_is_overwritten(tmp_path: Path, say: Callable[..., Any], file: str) -> None:
    (tmp_path / file).write_text("kept")
    said = say("new", "attack", "mine", "--out", tmp_path)
    assert (said.code, said.err) == (
        2,
        f"prime-audit: {tmp_path / file}: exists already; choose another name or another --out\n",
    )
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [(file, "kept")]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    from prime_audit.authoring.scaffold import new_plugin

    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        new_plugin("attack", "mine", tmp_path / "file")
