"""The wheel alone, without the repository: installed into a fresh environment and run from an empty folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import prime_audit

ROOT = Path(__file__).parent.parent


def run(*words: object, cwd: Path) -> str:
    """Run a program without our PYTHONPATH; return what it prints."""
    own = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    env = own | {"PRIME_AUDIT_CACHE": str(cwd / "cache")}
    done = subprocess.run(
        list(map(str, words)), cwd=cwd, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Callable[..., str]]:
    """Build the wheel, install it alone; (an empty folder, words → what its prime-audit prints there)."""
    pytest.importorskip("hatchling")
    pytest.importorskip("pip")
    home = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", home / "dist", cwd=ROOT)
    (wheel,) = (home / "dist").glob("*.whl")
    venv.create(home / "env", symlinks=True)
    scripts = home / "env" / ("Scripts" if os.name == "nt" else "bin")
    base = {"base": str(home / "env"), "platbase": str(home / "env")}
    # The dependencies are this environment's. Its own path files, such as an editable install's, are not read there.
    packages = Path(sysconfig.get_path("purelib", "venv", base))
    ours = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "dependencies.pth").write_text("\n".join(ours), encoding="utf-8")
    pip = (sys.executable, "-m", "pip", "--python", scripts / "python", "install", "--quiet", "--no-deps")
    run(*pip, "--no-index", "--force-reinstall", wheel, cwd=home)
    empty = home / "empty"
    empty.mkdir()
    where = run(scripts / "python", "-c", "import prime_audit; print(prime_audit.__file__)", cwd=empty)
    assert Path(where.strip()).is_relative_to(home)
    return empty, lambda *words: run(scripts / "prime-audit", *words, cwd=empty)


@pytest.mark.slow
def test_the_main_job_runs_from_the_wheel(
    elsewhere: tuple[Path, Callable[..., str]], small: Sequence[str]
) -> None:
    folder, prime_audit = elsewhere
    prime_audit("new", "attack", "mine")
    sets = [word for pair in small for word in ("--set", pair)]
    words = ("--methods", "np,ties,prime", "--attacks", "loss,mine", "--plugin", "mine.py", "--out", "run")
    prime_audit("compare", *words, "--tasks", "LaMP-4", "--data", "world:users=12,queries=2", *sets)
    record = json.loads((folder / "run/record.json").read_text(encoding="utf-8"))
    assert record["spec"]["model"] == "mini"
    assert record["code"]["commit"] is None
    assert {leak["attack"] for leak in record["leaks"]} == {"loss", "mine"}
    page = (folder / "run/index.html").read_text(encoding="utf-8")
    assert "echarts" in page
    assert "ties" in prime_audit("show", "run")


@pytest.mark.slow
def test_its_parts_are_in_the_wheel(
    elsewhere: tuple[Path, Callable[..., str]], say: Callable[..., Any]
) -> None:
    folder, prime_audit = elsewhere
    for kind in ("methods", "attacks", "games", "tasks", "presets", "studies"):
        words = ("list", kind, "--json")
        assert json.loads(prime_audit(*words)) == json.loads(say(*words).out) != []
    prime_audit("examples", "own_data")
    assert (folder / "own_data.py").is_file()
    prime_audit("new", "game", "ours")
    typed = {path.parent.name for path in (folder.parent / "env").rglob("py.typed")}
    assert typed == {"prime_audit", "prime_attacks", "prime_baselines"}


def test_files_at_the_top_agree() -> None:
    """One version of the package, and one version of every pinned dependency."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert cited is not None
    assert cited[1] == pyproject["project"]["version"] == prime_audit.__version__
    locked: dict[str, set[str]] = {}
    for package in tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]:
        locked.setdefault(package["name"], set()).add(package["version"])
    pins = re.findall(r"^([\w.-]+)==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert len(pins) > 30
    for name, version in pins:
        assert locked[name.lower().replace("_", "-")] == {version}, f"{name}: see [tool.uv]"
