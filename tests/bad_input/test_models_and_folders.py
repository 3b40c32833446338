"""Models that cannot be used, and folders that cannot be written or hold no run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .helpers import Say, one_line

# -- models ------------------------------------------------------------------------------------------------


def test_a_model_without_a_supported_layer(
    attempt: Say, model_folder: Callable[[str], Path], folder: Path, tmp_path: Path
) -> None:
    said = attempt("--data", folder, model=model_folder("gpt2"))
    one_line(said, "no Linear layer named q_proj", "pass --set lora.modules=c_attn+c_proj")
    assert not (tmp_path / "runs").exists()


BROKEN: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "empty folder": (lambda m: [p.unlink() for p in m.iterdir()], ("the folder has no config.json",)),
    "no weights": (lambda m: (m / "model.safetensors").unlink(), ("cannot be loaded",)),
    "truncated weights": (
        lambda m: (m / "model.safetensors").write_bytes((m / "model.safetensors").read_bytes()[:5000]),
        ("cannot be loaded",),
    ),
    "broken configuration": (lambda m: (m / "config.json").write_text("{"), ("cannot be loaded",)),
    "no tokenizer": (lambda m: [p.unlink() for p in m.glob("tokenizer*")], ("tokenizer",)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_bad_model_folder(
    attempt: Say, llama_folder: Path, folder: Path, tmp_path: Path, name: str
) -> None:
    model = tmp_path / "model"
    shutil.copytree(llama_folder, model)
    spoil, parts = BROKEN[name]
    spoil(model)
    one_line(attempt("--data", folder, model=model), str(model), *parts)
    assert not (tmp_path / "runs").exists()


def test_cuda_where_there_is_none(attempt: Say, folder: Path, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    one_line(attempt("--data", folder, "--device", "cuda"), "cuda")
    assert not (tmp_path / "runs").exists()


# -- the output folder -------------------------------------------------------------------------------------


def test_an_output_folder_that_holds_another_run(attempt: Say, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "out"
    out.mkdir(parents=True)
    (out / "record.json").write_text("{}")
    one_line(attempt("--data", folder), f"output folder {out} holds another run: choose another --out")
    assert [p.name for p in out.iterdir()] == ["record.json"]


def test_an_output_folder_that_is_a_file(attempt: Say, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("mine")
    one_line(attempt("--data", folder), "cannot create output folder", "choose another --out")
    assert (tmp_path / "runs").read_text() == "mine"


@pytest.mark.skipif(
    not Path("/proc/version").exists(), reason="no folder here that is forbidden to root, too"
)
def test_an_output_folder_that_cannot_be_written(attempt: Say, folder: Path) -> None:
    one_line(
        attempt("--data", folder, "--out", "/proc/nothing/here"),
        "cannot create output folder /proc/nothing/here",
    )


def test_showing_what_is_no_run(say: Say, tmp_path: Path) -> None:
    one_line(say("show", tmp_path), "has no record.json: pass the --out folder of a finished run")
    one_line(say("show", tmp_path / "none"), "cannot read", "pass the --out folder of a run")
    for text, part in (
        ("{", "is damaged"),
        ("[]", "is not a prime-audit file"),
        ("{}", "is not a prime-audit record"),
    ):
        (tmp_path / "record.json").write_text(text)
        one_line(say("show", tmp_path), str(tmp_path / "record.json"), part)
    (tmp_path / "index.html").write_text("<html>")
    one_line(say("show", tmp_path / "index.html"), "index.html is not a record: pass the --out folder")


def test_writing_a_world_where_nothing_can_be_written(say: Say, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    one_line(say("data", "world", "--task", "LaMP-2", "--out", tmp_path / "file"), str(tmp_path / "file"))
    assert say("data", "world", "--task", "LaMP-2", "--out", tmp_path / "w").code == 0
    one_line(
        say("data", "world", "--task", "LaMP-2", "--out", tmp_path / "w"),
        "movie_tagging: exists and is not empty",
    )
    one_line(say("data", "world", "--task", "LaMP-9", "--out", tmp_path / "new"), "unknown task 'LaMP-9'")
    assert not (tmp_path / "new").exists()
