"""Other people's methods and attacks: installed beside the package or given as a file, and never in the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prime_audit import Run
from prime_audit.errors import UserError
from prime_audit.plugins import loading
from prime_audit.plugins.loading import available, load_attack, load_method

ATTACK = '''"""Mean log-probability of the gold tokens."""
import numpy as np
from prime_audit.plugins import attack


@attack(source="a test", needs=("logprobs",))
def score(signals):
    """Higher where the text is better known."""
    return np.array([tokens.mean() for tokens in signals.logprobs])
'''
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


def install(root: Path, name: str, files: dict[str, str], group: str = "attacks") -> Path:
    """Lay out an installed distribution: a package of plugin files and its metadata, as pip would."""
    package = root / name.replace("-", "_")
    package.mkdir(parents=True)
    for file, text in ({"__init__.py": ""} | files).items():
        (package / file).write_text(text, encoding="utf-8")
    info = root / f"{package.name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[prime_audit.{group}]\n{package.name} = {package.name}\n")
    return root


def command(*words: object, path: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(path), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "prime_audit", *map(str, words)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def test_a_third_partys_package_is_found_and_runs(
    tmp_path: Path,
    quick: Callable[..., Run],
    say: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = install(tmp_path / "site", "acme-attacks", {"acme.py": ATTACK, "_helper.py": "raise SystemExit"})
    install(root, "acme-methods", {"closest.py": METHOD}, "methods")
    listed = json.loads(command("list", "attacks", "--json", path=root).stdout)
    found = {row["attack"]: (row["from"], row["what"]) for row in listed}
    assert found["acme"] == ("acme-attacks", "Mean log-probability of the gold tokens.")
    assert found["loss"][0] == "prime-audit"
    assert "_helper" not in found
    monkeypatch.syspath_prepend(root)  # as in that process; here the rest is cheaper
    loading._from_entry_points.cache_clear()
    record = quick("closest:rank=2", task="LaMP-3", attacks="loss,acme").record
    own = [r for r in record.results if (r.method, r.metric) == ("closest:rank=2", "auc")]
    aucs = {(r.game, r.attack): r.value for r in own}
    assert set(aucs) == {(game, attack) for game in ("paper", "heldout") for attack in ("loss", "acme")}
    assert None not in aucs.values()
    well = say("doctor", "acme")
    assert (well.code, well.err) == (0, "")
    assert "ok    loads: attack from acme-attacks" in well.out
    assert "FAIL" not in well.out
    monkeypatch.undo()
    loading._from_entry_points.cache_clear()


def test_a_package_that_does_not_import_is_listed_and_refused_in_one_line(tmp_path: Path) -> None:
    broken = {"bad.py": '"""Fails."""\nimport no_such_module\n', "worse.py": "def (:\n"}
    root = install(tmp_path, "acme-broken", broken)
    listed = json.loads(command("list", "attacks", "--json", path=root).stdout)
    assert {row["attack"] for row in listed} >= {"loss", "bad", "worse"}
    asked = command("describe", "bad", path=root)
    assert asked.returncode == 2
    assert asked.stderr == (
        "prime-audit: attack bad: acme_broken.bad does not import: ModuleNotFoundError: "
        "No module named 'no_such_module'\n"
    )
    assert command("describe", "loss", path=root).returncode == 0
    ill = command("doctor", "bad", path=root)
    assert (ill.returncode, ill.stderr) == (1, "")
    assert ill.stdout.startswith(
        "FAIL  loads: attack bad: acme_broken.bad does not import: ModuleNotFoundError"
    )


def test_a_package_whose_parent_fails_does_not_break_the_list(tmp_path: Path) -> None:
    root = install(tmp_path, "acme-top", {"__init__.py": "raise RuntimeError('no')", "x.py": ATTACK})
    done = command("list", "attacks", "--json", path=root)
    assert done.returncode == 0, done.stderr
    assert "loss" in {row["attack"] for row in json.loads(done.stdout)}


def test_two_plugins_of_one_name_are_refused(tmp_path: Path) -> None:
    root = install(tmp_path, "acme-twin", {"loss.py": ATTACK})
    done = command("describe", "loss", path=root)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    for part in ("'loss'", "prime-audit", "acme-twin", "uninstall or rename one"):
        assert part in done.stderr


def test_a_file_serves_as_a_plugin(tmp_path: Path) -> None:
    file = tmp_path / "mean.py"
    file.write_text(ATTACK, encoding="utf-8")
    loaded = load_attack("mean", [file])
    assert (loaded.name, loaded.needs, loaded.source) == ("mean", ("logprobs",), "a test")
    assert (loaded.version, available("attack", [file])["mean"].version) == (1, 1)
    assert "mean" not in available("method", [file])
    assert "mean" not in available("attack")
    both = tmp_path / "closest.py"
    both.write_text(METHOD.replace("@method", "@prime_audit.plugins.method").replace("import", "import", 1))
    both.write_text("import prime_audit.plugins\n" + both.read_text())
    assert load_method("closest", [both]).params[0].name == "rank"


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        (ATTACK.replace('"a test"', '"a test", version=3'), 3),
        (METHOD.replace('"a test"', '"a test", version=3'), 3),
        (
            METHOD.replace("@method(", "@plugins.method(version=3, ").replace(
                "import Param",
                "import method\nfrom prime_audit import plugins\nfrom prime_audit.plugins import Param",
            ),
            3,
        ),
        ("N = 3\n" + ATTACK.replace('"a test"', '"a test", version=N'), None),  # known when it is run only
    ],
)
def test_a_plugins_version_is_listed_and_loaded(
    tmp_path: Path, say: Callable[..., Any], text: str, listed: int | None
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text, encoding="utf-8")
    kind = "method" if "method(" in text else "attack"
    loaded = load_method("mine", [file]) if kind == "method" else load_attack("mine", [file])
    assert loaded.version == 3
    rows = json.loads(say("list", f"{kind}s", "--plugin", file, "--json").out)
    assert {row[kind]: row["version"] for row in rows}["mine"] == listed
    assert "version: 3" in say("describe", "mine", "--plugin", file).out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "marks no function with any of @method(...), @attack(...), @game(...); mark one"),
        ("x = 1\ndef f(:\n", "does not import: SyntaxError: invalid syntax (mine.py, line 2)"),
        (ATTACK + ATTACK.replace("def score", "def other"), "marks 2 functions with @attack; mark one"),
        (
            ATTACK.replace("logprobs", "logprob", 1),
            "unknown signal that attack mine needs 'logprob': did you mean",
        ),
        ("raise ValueError('line 1\\nline 2')\n@attack(", "does not import: SyntaxError"),
        (ATTACK.replace("import numpy", "import nunpy"), "does not import: ModuleNotFoundError"),
        (ATTACK.replace('source="a test", ', ""), "does not import: TypeError"),
    ],
)
def test_wrong_marks(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"mine") as fault:
        load_attack("mine", [file])
    assert message in str(fault.value)


def test_files_that_are_no_plugins(tmp_path: Path, say: Callable[..., Any]) -> None:
    for path in (tmp_path / "none.py", tmp_path):
        said = say("list", "attacks", "--plugin", path)
        assert said.code == 2
        assert said.err == f"prime-audit: --plugin {path}: no such Python file\n"
    twin = tmp_path / "loss.py"
    twin.write_text(ATTACK, encoding="utf-8")
    said = say("list", "attacks", "--plugin", twin)
    assert said.code == 2
    assert "comes from both prime-audit and" in said.err
