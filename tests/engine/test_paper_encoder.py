"""The kind of encoder that the paper's preset names: DebertaV2 whose tokenizer is a bare SentencePiece model."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from prime_audit.engine.embed import load_encoder
from prime_audit.errors import UserError

TEXTS = ["the council met on Monday", "rain again, so no football"]
PIECES = {"pad": "[PAD]", "bos": "[CLS]", "eos": "[SEP]", "unk": "[UNK]"}


@pytest.fixture(scope="module")
def deberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a tiny random DebertaV2 folder as the hub has the large one: safetensors, spm.model, no tokenizer.json."""
    spm = pytest.importorskip("sentencepiece")
    from transformers import DebertaV2Config, DebertaV2Model

    folder, model = tmp_path_factory.mktemp("deberta"), io.BytesIO()
    special = {f"{name}_id": n for n, name in enumerate(PIECES)} | {
        f"{n}_piece": p for n, p in PIECES.items()
    }
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 20), model_writer=model, vocab_size=60, hard_vocab_limit=False,
        minloglevel=2, **special,
    )  # fmt: skip
    (folder / "spm.model").write_bytes(model.getvalue())
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false, "vocab_type": "spm"}')
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    deberta_v3 = {
        "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False,
        "position_buckets": 8, "share_att_key": True, "norm_rel_ebd": "layer_norm", "type_vocab_size": 0,
    }  # fmt: skip
    DebertaV2Model(DebertaV2Config(vocab_size=96, **shape, **deberta_v3)).save_pretrained(folder)
    assert not list(folder.glob("tokenizer.json"))
    return folder


def test_it_embeds(deberta: Path) -> None:
    from transformers import DebertaV2Model

    ours = load_encoder(str(deberta), "cpu").embed(TEXTS)
    assert (ours.shape, ours.dtype) == ((2, 32), np.float64)
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(deberta / "spm.model"))
    plain = DebertaV2Model.from_pretrained(deberta).eval()
    for text, row in zip(TEXTS, ours, strict=True):
        ids = [pieces.piece_to_id("[CLS]"), *pieces.encode(text), pieces.piece_to_id("[SEP]")]
        with torch.inference_mode():
            states = plain(torch.tensor([ids])).last_hidden_state[0]
        np.testing.assert_allclose(row, states.double().mean(0).numpy(), atol=1e-5)


@pytest.mark.parametrize("package", ["sentencepiece", "google.protobuf"])
def test_a_missing_package_is_named_with_its_remedy(
    deberta: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sentencepiece

    built = "sentencepiece_model_pb2"  # by protobuf, when it is first imported
    monkeypatch.delattr(sentencepiece, built, raising=False)
    gone = (f"{package}.", f"sentencepiece.{built}.")
    for name in [name for name in sys.modules if f"{name}.".startswith(gone)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError) as fault:
        load_encoder(str(deberta), "cpu")
    assert str(fault.value) == (
        f"encoder {deberta}: its tokenizer is a SentencePiece model, and {package} cannot be imported: "
        "pip install 'prime-audit[paper]'"
    )


def test_weights_as_bin_only_are_named_with_their_remedy(deberta: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    old = tmp_path / "old"
    shutil.copytree(deberta, old)
    torch.save(load_file(old / "model.safetensors"), old / "pytorch_model.bin")
    (old / "model.safetensors").unlink()
    with pytest.raises(UserError, match="only safetensors files are read") as fault:
        load_encoder(str(old), "cpu")
    message = str(fault.value)
    assert "\n" not in message
    # What the line says, done: the folder it makes is read and embeds the same.
    command = message.partition('python -c "')[2].partition('"')[0].replace("NEW", str(tmp_path / "new"))
    exec(command, {})
    again, before = (load_encoder(str(folder), "cpu").embed(TEXTS) for folder in (tmp_path / "new", deberta))
    np.testing.assert_allclose(again, before, atol=1e-6)
