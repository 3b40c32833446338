"""Architectures unlike Llama: nested sizes, caches of their own, flattened rows, weights the other way round."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from prime_audit.engine.adapters import load_adapter, save_adapter
from prime_audit.engine.assemble import Unit, assemble
from prime_audit.engine.base import Base
from prime_audit.engine.load import load_base
from prime_audit.engine.lora import Adapter
from prime_audit.engine.memory import kv_bytes, state_bytes, training_bytes
from prime_audit.engine.mixture import Request, alone
from prime_audit.engine.privacy import Privacy
from prime_audit.engine.recipe import Job, LoraShape, Recipe
from prime_audit.engine.shape import Shape
from prime_audit.engine.train import train_adapters
from prime_audit.errors import UserError
from tests.makes import UNLIKE

NEW = 7


def written(model, plain, prompt, stops):
    """Decode greedily without a cache, one prompt at a time."""
    ids = list(plain.tokenizer(prompt)["input_ids"])
    start = len(ids)
    with torch.no_grad():
        while len(ids) < start + NEW:
            token = int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
            if token in stops:
                break
            ids.append(token)
    return plain.tokenizer.decode(ids[start:], skip_special_tokens=True).strip()


@pytest.mark.parametrize("kind", UNLIKE)
def test_a_make_says_what_it_says_through_peft_alone(bench, pairs, worst, kind):
    b = bench(kind)
    base, peft = b.engine.base, b.plain.peft()
    # Every third token ends an answer: rows leave their batches at different steps. Prompts are read in parts.
    base.stops = (base.codec.eos, *range(5, 400, 3))
    engine = replace(b.engine, read_tokens=64)
    pairs = [*pairs, ("Tags:", "the cat"), ("Tale:", "star"), ("Rain:", "tea and a bridge")]
    for name in ("ann", "bob"):
        peft.set_adapter(name)
        ours = engine.score([Request(p, alone(name), gold=g) for p, g in pairs])
        assert worst(ours, b.plain.score(peft, pairs)) < 2e-5
        answers = engine.generate([Request(p, alone(name)) for p, _ in pairs], NEW)
        assert answers == [written(peft, b.plain, p, set(base.stops)) for p, _ in pairs]
    assert len(set(answers)) > 2


@pytest.mark.parametrize("kind", ["gpt2", "gemma3-whole", "mistral3-whole", "qwen2moe"])
def test_an_adapter_merged_or_saved_is_the_same_for_peft(bench, pairs, worst, kind, tmp_path):
    from peft import PeftModel

    b = bench(kind)
    save_adapter(b.plain.adapters["ann"], tmp_path)
    ours = b.engine.score([Request(p, alone("ann"), gold=g) for p, g in pairs])
    peft = PeftModel.from_pretrained(b.plain.model(), tmp_path).eval()
    assert worst(ours, b.plain.score(peft, pairs)) < 2e-5
    if kind != "gpt2":  # whose factors PEFT puts beside the very same layers
        adapted = {
            n.removeprefix("base_model.model.") for n, m in peft.named_modules() if hasattr(m, "lora_A")
        }
        assert adapted == set(b.plain.sites)
    else:  # PEFT notes how these layers store their weights; factors are the same either way
        place = tmp_path / "adapter_config.json"
        place.write_text(json.dumps(json.loads(place.read_text()) | {"fan_in_fan_out": True}))
    sha = b.engine.base.sha256()
    b.engine.base.merge(b.engine.base.aligned(load_adapter(tmp_path)))
    assert worst(ours, b.engine.score([Request(p, gold=g) for p, g in pairs])) < 2e-5
    b.engine.base.restore()
    assert b.engine.base.sha256() == sha


@pytest.mark.parametrize("kind", ["gemma3-whole", "mistral3-whole"])
def test_an_encoder_of_images_is_never_adapted(model_folder, kind):
    base = load_base(str(model_folder(kind)), targets=UNLIKE[kind].targets, device="cpu")
    names = [name for name, _ in base.model.named_modules() if name.endswith("q_proj")]
    assert [s.name for s in base.sites if s.name.endswith("q_proj")] == [
        n for n in names if "vision" not in n
    ]
    assert any("vision" in n for n in names)
    assert (base.layers, base.codec.context) == (3, 160)


def test_layers_that_never_run_add_nothing(bench, pairs):
    """Layers of Gemma 3n that read another layer's keys have key projections, and do not run them."""
    b = bench("gemma3n")
    gates = {n: tuple(torch.ones(s.d_in) for s in b.engine.base.sites) for n in b.engine.bank.names}
    (weights,) = assemble(b.engine, [Unit("t", tuple(b.engine.bank.names), tuple(pairs[:2]))], gates, 2)
    assert np.allclose(weights.sum(-1), 1)
    jobs = [Job("ann", tuple(pairs), items=tuple("12345"))]
    shape, recipe = LoraShape(rank=2, alpha=4.0, dropout=0.0), Recipe(batch=2, lr=1e-3, epochs=1)
    train_adapters(
        b.engine.base, jobs, shape, recipe, seed=1, tokens=999, privacy=Privacy(epsilon=8.0, delta=1e-2)
    )


def test_sizes_are_read_from_any_configuration():
    import transformers as hf

    text = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_hidden_layers": 4}
    text |= {"num_key_value_heads": 2, "head_dim": 8, "vocab_size": 99, "max_position_embeddings": 77}
    flat = Shape.of(hf.LlamaConfig(**text))
    assert flat == Shape(77, 4, 32, 48, 4, 2, 8, 99)
    assert Shape.of(hf.Gemma3Config(text_config=text)) == flat
    listed = text | {"intermediate_size": [48, 64, 32, 64]}
    assert Shape.of(hf.Gemma3nTextConfig(**listed)) == replace(flat, inner=64)
    assert Shape.of(hf.Gemma4TextConfig(**text)).width >= 8
    assert Shape.of(hf.GPT2Config(n_embd=32, n_layer=4, n_head=4, n_positions=77, vocab_size=99)) == Shape(
        77, 4, 32, 128, 4, 4, 8, 99
    )
    for config in (hf.MambaConfig(hidden_size=32), hf.MptConfig(), hf.T5Config(), hf.BertConfig()):
        assert min(f(config, 4) for f in (kv_bytes, state_bytes, training_bytes)) > 0


def test_a_missing_layer_is_refused_with_what_the_model_has(model_folder):
    with pytest.raises(UserError, match=r"named q_proj, v_proj to adapt; .* has c_proj, c_attn, c_fc; pass --set "
                       r"lora\.modules=c_attn\+c_proj$"):  # fmt: skip
        load_base(str(model_folder("gpt2")), targets=("q_proj", "v_proj"), device="cpu")


class Picks(torch.nn.Module):
    """A shared expert that sees some of the tokens, or all of them in another order."""

    def __init__(self, inner, order):
        super().__init__()
        self.inner, self.order = inner, order

    def forward(self, x):
        chosen = self.order(len(x))
        return torch.zeros_like(x).index_copy(0, chosen, self.inner(x[chosen]))


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (lambda n: torch.arange(0, n, 2), "sees selected tokens only"),
        (lambda n: torch.arange(n - 1, -1, -1), "sees the tokens in another order"),
    ],
)
def test_layers_whose_rows_are_unknown_are_refused_at_load(bench, order, why):
    base = bench("qwen2moe").engine.base
    mlp = base.model.model.layers[1].mlp
    mlp.shared_expert = Picks(mlp.shared_expert, order)
    tokenizer = base.codec.tokenizer
    with pytest.raises(UserError, match=rf"layers\.1\.mlp\.shared_expert.*{why}; leave gate_proj out of"):
        Base(base.model, tokenizer, UNLIKE["qwen2moe"].targets, "m")
    if "order" in why:  # which is the model's own business where no adapter sees it
        assert Base(base.model, tokenizer, ("q_proj", "v_proj"), "m").sites


def test_a_router_that_returns_more_than_its_product_is_refused(bench):
    class Router(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x), x

    base = bench("qwen2moe").engine.base
    layer = base.model.model.layers[0]
    layer.router = Router(32, 4)
    layer.register_forward_pre_hook(lambda module, args: [None, module.router(args[0])][0])
    with pytest.raises(UserError, match=r"layers\.0\.router cannot have adapters here: it returns more than"):
        Base(base.model, base.codec.tokenizer, ("router",), "m")


def test_a_model_that_cannot_continue_what_it_has_read_is_refused(bench):
    model, tokenizer = (b := bench("qwen2moe").engine.base).model, b.codec.tokenizer
    whole = model.forward
    model.forward = lambda past_key_values=None, **options: whole(**options)
    with pytest.raises(UserError, match="its key-value cache gives other logits than a full pass"):
        Base(model, tokenizer, ("q_proj",), "m")


def test_what_an_adapter_changes_in_an_encoder_of_images_is_left_out(bench):
    b = bench("gemma3-whole")
    own = b.plain.adapters["ann"]
    seen = tuple(n for n, m in b.engine.base.model.named_modules() if n.endswith("q_proj") and "vision" in n)
    both = replace(own, sites=seen + own.sites, A=(torch.ones(4, 32), *own.A), B=(torch.ones(32, 4), *own.B))
    assert b.engine.base.of_text(both) == own
    head = Adapter(("lm_head",), own.A[:1], own.B[:1], 1.0)
    assert b.engine.base.of_text(head) == head  # which text does run through
