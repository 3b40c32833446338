"""Plain PEFT on the other side: what it trains goes in, what we export it loads; both must say the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prime_audit import Run
from prime_audit.games.exam.stored import read_exam
from prime_audit.lamp.world.world import world

TASK = "LaMP-4"
NAMES = ("ann", "bea", "cem", "dot")
CONTEXT = 256
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")


@dataclass(frozen=True)
class Asked:
    """What a run asked of one model, and what it was told."""

    prompt: str
    gold: str
    logprobs: np.ndarray


@dataclass(frozen=True)
class Plain:
    """A model folder seen by transformers and PEFT alone."""

    folder: Path

    def model(self) -> Any:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(self.folder, dtype=torch.float32).eval()

    def with_adapter(self, adapter: Path) -> Any:
        from peft import PeftModel

        return PeftModel.from_pretrained(self.model(), adapter).eval()

    def train(self, out: Path, pairs: Sequence[tuple[str, str]], steps: int = 4, **config: Any) -> Path:
        """Train a LoRA as anybody would, and save it."""
        from peft import LoraConfig, get_peft_model
        from transformers import AutoTokenizer

        shape = {"r": 2, "lora_alpha": 4, "target_modules": list(TARGETS), "task_type": "CAUSAL_LM"} | config
        torch.manual_seed(len(out.name) + ord(out.name[0]))
        model, tokenizer = (
            get_peft_model(self.model(), LoraConfig(**shape)),
            AutoTokenizer.from_pretrained(self.folder),
        )
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-2)
        for step in range(steps):
            prompt, gold = pairs[step % len(pairs)]
            ids = tokenizer(f"{prompt} {gold}", return_tensors="pt", truncation=True, max_length=120)[
                "input_ids"
            ]
            model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        model.save_pretrained(out)
        (out / "README.md").unlink(missing_ok=True)
        return out

    def gap(self, model: Any, asked: Iterable[Asked], most: int = 12) -> float:
        """Largest difference of a gold token's log-probability between this model and what the run was told."""
        from transformers import AutoTokenizer

        tokenizer, found = AutoTokenizer.from_pretrained(self.folder), []
        for one in list(asked)[:most]:
            tail = [*tokenizer(" " + one.gold, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
            head = tokenizer(one.prompt)["input_ids"]
            if len(head) + len(tail) > CONTEXT:
                continue
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([head + tail])).logits[0].double()
            places = torch.arange(len(head) - 1, len(head) + len(tail) - 1)
            logp = torch.log_softmax(logits, -1)[places, torch.tensor(tail)].numpy()
            assert logp.shape == one.logprobs.shape
            found.append(float(np.abs(logp - one.logprobs).max()))
        return max(found)


@pytest.fixture(scope="session")
def llama_folder(model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a tiny random Llama whose context holds a bare prompt: what is cut cannot be compared."""
    import shutil

    folder = Path(shutil.copytree(model_folder("llama"), tmp_path_factory.mktemp("wide") / "llama"))
    path = folder / "config.json"
    config = json.loads(path.read_text()) | {"max_position_embeddings": CONTEXT}
    path.write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def plain(llama_folder: Path) -> Plain:
    return Plain(llama_folder)


@pytest.fixture(scope="session")
def asked_of() -> Callable[..., list[Asked]]:
    """(run, core, target[, kind]) → the items that the run asked a target's model, shortest first."""

    def find(run: Run, core: str, target: str, kind: str = "modules") -> list[Asked]:
        exam = read_exam(run.path, TASK)
        found = {p.pool: p for p in exam.passes if (p.kind, p.method) == (kind, core)}
        one = found.get("sharers") or next(iter(found.values()))  # the base has a pass for each pool
        seen, pool = one.seen[target], exam.pools[one.pool]
        rows = [Asked(pool.prompts[i], pool.golds[i], row) for i, row in enumerate(seen.logprobs) if row.size]
        return sorted(rows, key=lambda a: len(a.prompt))

    return find


@pytest.fixture(scope="session")
def given_once(plain: Plain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder of four sharers with adapters that plain PEFT trained, each with items, some held out."""
    home = tmp_path_factory.mktemp("given")
    users = world(TASK, seed=9, users=4, adapt=0, targets=0, history=(8, 8)).candidates
    for name, user in zip(NAMES, users, strict=True):
        pairs = [(item.fields["text"], item.fields["title"]) for item in user.history]
        plain.train(home / name, pairs)
        rows = [
            {"id": item.id, "input": text, "output": title} | ({"heldout": True} if n % 3 == 2 else {})
            for n, (item, (text, title)) in enumerate(zip(user.history, pairs, strict=True))
        ]
        write_rows(home / name, rows)
    return home


@pytest.fixture
def given(given_once: Path, tmp_path: Path) -> Path:
    """Copy it, to be spoilt."""
    import shutil

    return Path(shutil.copytree(given_once, tmp_path / "given"))


def write_rows(folder: Path, rows: Iterable[Mapping[str, Any]], name: str = "items.jsonl") -> None:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def read_rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "items.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="session")
def rows() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """(read, write) a sharer's rows."""
    return read_rows, write_rows
