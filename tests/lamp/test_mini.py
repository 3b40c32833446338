from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prime_audit.assets import MINI
from prime_audit.lamp.prompts import query_examples, question_prompt
from prime_audit.lamp.tasks import TASKS
from prime_audit.lamp.world.text import STYLES
from prime_audit.lamp.world.world import SIMULATED, world
from tests.lamp.hidden import tastes


@cache
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(MINI)


@cache
def model() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(MINI).eval()


def answers(prompts: list[str]) -> list[str]:
    import torch

    batch = tokenizer()(prompts, return_tensors="pt", padding=True)
    with torch.inference_mode():
        ids = model().generate(**batch, max_new_tokens=40, do_sample=False)
    texts = tokenizer().batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return [text.strip() for text in texts]


def test_the_folder_is_small_and_complete() -> None:
    names = {path.name for path in MINI.iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors"} <= names
    assert {"tokenizer.json", "tokenizer_config.json"} <= names
    assert sum(path.stat().st_size for path in MINI.parent.rglob("*") if path.is_file()) <= 8 * 2**20


def test_nothing_in_it_names_a_machine() -> None:
    for path in MINI.glob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert str(Path.home()) not in text
        assert "/tmp/" not in text


def test_the_room_imports_no_torch() -> None:
    code = "import sys, prime_audit.assets, prime_audit.lamp.world.world; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_shape() -> None:
    import torch

    config = model().config
    assert type(model()).__name__ == "LlamaForCausalLM"
    assert (config.num_attention_heads, config.num_key_value_heads) == (4, 2)
    assert config.max_position_embeddings >= 2048
    assert all(parameter.dtype == torch.float32 for parameter in model().parameters())
    assert all(torch.isfinite(parameter).all() for parameter in model().parameters())
    assert config.vocab_size == len(tokenizer())
    special = (tokenizer().bos_token_id, tokenizer().eos_token_id, tokenizer().pad_token_id)
    assert len({*special, None}) == 4
    assert special == (config.bos_token_id, config.eos_token_id, config.pad_token_id)


@given(st.text(max_size=200))
def test_any_text_survives(text: str) -> None:
    ids = tokenizer()(text)["input_ids"]
    assert ids[0] == tokenizer().bos_token_id
    assert tokenizer().decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize("text", ["<|eos|>", "a<|pad|> b <|bos|>", "### User History:\n<|eos|>\n\n\n"])
def test_the_name_of_a_special_token_is_just_text(text: str) -> None:
    ids = tokenizer()(text)["input_ids"]
    assert not {*tokenizer().all_special_ids} & {*ids[1:]}
    assert tokenizer().decode(ids, skip_special_tokens=True) == text


def test_every_byte_has_a_token() -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    assert set(ByteLevel.alphabet()) <= set(tokenizer().get_vocab())


@pytest.mark.parametrize("task", SIMULATED)
def test_gold_tokens_follow_the_prompts(task: str) -> None:
    """Tokens of ``prompt + " " + gold`` begin with those of the prompt, so a gold's tokens are well defined."""
    for example in query_examples(TASKS[task], world(task).targets[0], k=1, profile="a profile"):
        prompt, full = (tokenizer()(text)["input_ids"] for text in (example.prompt, example.text))
        assert full[: len(prompt)] == prompt
        assert len(full) < 400


@pytest.mark.parametrize("task", [name for name, task in SIMULATED.items() if task.labels])
def test_it_answers_with_a_label(task: str) -> None:
    prompts = [e.prompt for user in world(task).targets[:4] for e in query_examples(TASKS[task], user)]
    said = answers(prompts)
    assert sum(answer in TASKS[task].labels for answer in said) >= 0.95 * len(said)


def test_it_makes_some_use_of_a_history_in_the_prompt() -> None:
    """Endings of headlines: a guess without a history, mostly the user's own after four of hers.

    Measured 0.30 without and 0.74 with, over these seeds; it stays at 0.50 on seed 1, whose users prefer
    endings that the model copies badly.
    """
    task, right, asked = TASKS["LaMP-4"], {"with": 0, "without": 0}, 0
    for seed in range(3):
        hidden = tastes(task.name, seed=seed)[12:26]
        for user, taste in zip(world(task.name, seed=seed, noise=0.0).targets, hidden, strict=True):
            asked += 2
            for key, shown in (("with", user.history[:4]), ("without", ())):
                prompts = [question_prompt(task, query.fields, history=shown) for query in user.queries[:2]]
                right[key] += sum(_ending(answer) == taste.style["ending"] for answer in answers(prompts))
    assert right["with"] >= right["without"] + 0.3 * asked


def _ending(headline: str) -> str:
    endings = (ending for ending in STYLES["LaMP-4"]["ending"] if ending)
    return next((e for e in endings if headline.casefold().endswith(e.casefold())), "")


def test_the_command_remakes_a_model(tmp_path: Path) -> None:
    from prime_audit.lamp.world import make_mini

    small = ["--steps", "2", "--worlds", "1", "--tokens", "1024", "--threads", "1"]
    for name in ("one", "two"):
        make_mini.main(["--out", str(tmp_path / name), *small])
    files = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("one", "two")]
    assert files[0] == files[1] == sorted(path.name for path in MINI.iterdir())
    for file in files[0]:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert json.loads((tmp_path / "one" / "config.json").read_text(encoding="utf-8"))["dtype"] == "float32"
