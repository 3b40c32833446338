"""Numbers that are not finite end in one line, never in an empty answer, a NaN score or a NaN embedding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prime_audit.engine.assemble import Unit, assemble
from prime_audit.engine.embed import base_encoder, load_encoder
from prime_audit.engine.load import load_base
from prime_audit.engine.lora import Adapter
from prime_audit.engine.mixture import Request, alone
from prime_audit.engine.sampling import Sampling
from prime_audit.errors import PartError, UserError


def spoil(b, value=float("nan")):
    with torch.no_grad():
        b.engine.base.model.base_model.norm.weight[3] = value


def asks(b):
    """Every way of asking for numbers."""
    sampled = Sampling(temperature=1.0, top_p=0.9)
    yield lambda: b.engine.score([Request("Tag:", gold="star"), Request("rain and the cat", gold="tea")])
    yield lambda: b.engine.generate([Request("Tag:"), Request("rain and the cat")], 4)

    def draw():
        b.engine.sampling = sampled
        return b.engine.generate([Request("Tag:", key=("a",))], 4)

    yield draw
    b.engine.sampling = None


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, float(value)) for kind in ("llama", "gemma2") for value in ("nan", "inf")]
)
def test_a_base_that_is_not_finite_is_refused(bench, kind, value):
    b = bench(kind)
    spoil(b, value)
    for ask in asks(b):
        with pytest.raises(
            UserError, match=r"^model .*: logits are not finite in float32: replace"
        ) as caught:
            ask()
        assert not isinstance(caught.value, PartError)  # it ends the run
        assert "\n" not in str(caught.value)


def test_float16_names_bfloat16(llama_folder, bench):
    b = bench()
    b.engine.base = load_base(str(llama_folder), targets=("q_proj",), device="cpu", dtype="float16")
    with torch.no_grad():
        b.engine.base.model.model.layers[0].mlp.down_proj.weight.mul_(4e4)
    with pytest.raises(UserError, match=r"not finite in float16: use --dtype bfloat16$"):
        b.engine.score([Request("Tag:", gold="star")])
    with pytest.raises(UserError, match=r"^model .*: hidden states are not finite in float16: use --dtype"):
        base_encoder(b.engine.base).embed(["Tag:", "rain"])


def test_a_merged_model_that_is_not_finite_fails_alone(bench):
    b = bench()
    hot = b.plain.adapters["ann"]
    broken = Adapter(hot.sites, hot.A, tuple(t * 1e38 for t in hot.B), hot.scaling)
    b.engine.bank.add({"hot": broken})
    for requests in ([Request("Tag:", alone("bob"), "star"), Request("Tag:", alone("hot"), "star")],):
        for ask in (b.engine.score, lambda r: b.engine.generate(r, 4)):
            with pytest.raises(
                PartError, match=r"with hot merged: logits are not finite in float32"
            ) as caught:
                ask(requests)
            assert "\n" not in str(caught.value)
            assert ask(requests[:1])


def test_an_assembly_that_is_not_finite_fails(bench):
    b = bench()
    gates = {n: tuple(torch.zeros(s.d_in) for s in b.engine.base.sites) for n in ("ann", "bob")}
    unit = Unit("t", ("ann", "bob"), (("Tag:", "star"),))
    assert np.isfinite(assemble(b.engine, [unit], gates, 1)[0]).all()
    with torch.no_grad():
        b.engine.base.model.model.layers[0].mlp.down_proj.weight[0] = float("nan")
    with pytest.raises(PartError, match="with ann, bob merged: hidden states are not finite"):
        assemble(b.engine, [unit], gates, 1)


def test_an_encoder_that_is_not_finite_is_named(model_folder):
    folder = str(model_folder("llama"))
    encoder = load_encoder(folder, "cpu")
    assert np.isfinite(encoder.embed(["Tag:", "the rain is on again"])).all()
    with torch.no_grad():
        encoder.body.layers[0].mlp.down_proj.weight[0] = float("nan")
    with pytest.raises(UserError, match=r"^encoder .*: hidden states are not finite in float32") as caught:
        encoder.embed(["Tag:", "the rain is on again"])
    assert folder in str(caught.value)
