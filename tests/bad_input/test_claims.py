"""docs/security.md is true: every test that it names exists, and nothing it rules out is used."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import prime_audit

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/security.md"
SAID = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
FORBIDDEN_MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "yaml",
    "zipfile",
    "tarfile",
}
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "compile",
    "torch.load",
    "np.load",
    "numpy.load",
    "os.system",
    "shutil.unpack_archive",
}


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", SAID))
    assert len(named) > 25
    written = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in sorted(named) if f"def {name}(" not in written] == []
    files = re.findall(r"`(tests/[\w/.]+\.py)`", SAID)
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_every_claim_names_a_test() -> None:
    """Each bullet of what a file cannot do."""
    claims = SAID.partition("## What a malicious file cannot do")[2].partition("\n## ")[0].split("\n- ")[1:]
    assert len(claims) > 15
    assert [claim for claim in claims if not re.search(r"`(test_\w+|tests/[\w/.]+\.py)`", claim)] == []


def test_nothing_in_the_package_unpickles_or_evaluates() -> None:
    homes = [Path(prime_audit.__path__[0]), ROOT / "attacks", ROOT / "baselines"]
    found = []
    for path in (path for home in homes for path in home.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            found += [f"{path}: {name}" for name in names if name.split(".")[0] in FORBIDDEN_MODULES]
            if isinstance(node, ast.Call) and ast.unparse(node.func) in FORBIDDEN_CALLS:
                found.append(f"{path}: {ast.unparse(node)[:60]}")
            trusting = isinstance(node, ast.keyword) and node.arg in ("trust_remote_code", "shell")
            if trusting and ast.unparse(node.value) != "False":
                found.append(f"{path}: {ast.unparse(node)}")
    assert found == []
