"""Hub ids, ``HF_HOME`` and offline mode, as transformers has them: a cache laid out by hand, no network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from prime_audit.engine.hub import advice, pinned
from prime_audit.engine.load import resolve_model
from prime_audit.errors import UserError

OLD, NEW = "a" * 40, "b" * 40
CODE = """
import json, sys
from prime_audit.engine.load import load_base
from prime_audit.errors import UserError
said = {}
for name in json.loads(sys.argv[1]):
    try:
        base = load_base(name, targets=("q_proj",))
        said[name] = [base.name, base.loaded_sha256]
    except UserError as fault:
        said[name] = str(fault)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def home(llama_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay out an ``HF_HOME`` that holds acme/tiny in two commits, the later one as main; its weights differ."""
    from safetensors.torch import load_file, save_file

    home = tmp_path_factory.mktemp("hf")
    repo = home / "hub" / "models--acme--tiny"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(NEW)
    for commit in (OLD, NEW):
        shutil.copytree(llama_folder, repo / "snapshots" / commit)
    path = repo / "snapshots" / OLD / "model.safetensors"
    tensors = load_file(path)
    tensors["model.norm.weight"] += 1
    save_file(tensors, path, metadata={"format": "pt"})
    return home


def test_a_cache_by_hand_offline(home: Path, llama_folder: Path) -> None:
    names = ["acme/tiny", f"acme/tiny@{OLD}", "acme/tiny@main", "acme/none", str(llama_folder)]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_"))}
    done = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(names)],
        env={**env, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["acme/tiny"][0] == "acme/tiny"
    assert said["acme/tiny"][1] == said["acme/tiny@main"][1] == said[str(llama_folder)][1]
    assert said[f"acme/tiny@{OLD}"][1] != said["acme/tiny"][1]
    line = said["acme/none"]
    assert "HF_HUB_OFFLINE is set" in line
    assert "hf download acme/none" in line
    assert "\n" not in line


def test_revisions_are_split_and_folders_are_not(tmp_path: Path) -> None:
    assert pinned("acme/tiny@v1") == ("acme/tiny", {"revision": "v1"})
    assert pinned("acme/tiny@refs/pr/1") == ("acme/tiny", {"revision": "refs/pr/1"})
    assert pinned("acme/tiny") == ("acme/tiny", {})
    (tmp_path / "a@b").mkdir()
    assert pinned(str(tmp_path / "a@b")) == (str(tmp_path / "a@b"), {})
    assert resolve_model("acme/tiny@refs/pr/1") == "acme/tiny@refs/pr/1"
    with pytest.raises(UserError, match="no such model folder"):
        resolve_model("a/b/c@d")


def test_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import errors

    def fault(kind: type[Exception], text: str) -> Exception:
        made = kind.__new__(kind)
        Exception.__init__(made, text)
        return made

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    gated = OSError("You are trying to access a gated repo.")
    gated.__cause__ = fault(errors.GatedRepoError, "403")
    assert "accept its terms at https://huggingface.co/meta/x, then log in: hf auth login" in advice(
        gated, "meta/x@v1"
    )
    assert "hf auth login" in advice(fault(errors.RepositoryNotFoundError, "404"), "a/b")
    assert "org/name@revision" in advice(fault(errors.RevisionNotFoundError, "404"), "a/b@c")
    lost = OSError("We couldn't connect to 'https://huggingface.co' to load the files")
    assert "HF_HOME" in advice(lost, "a/b")
    assert "HF_HUB_OFFLINE" not in advice(lost, "a/b")
    assert advice(ValueError("something else"), "a/b") == ""
