"""A gated Llama on one GPU, with the paper's numbers.

1. Accept the terms at https://huggingface.co/meta-llama/Llama-2-7b-hf (a form; access takes minutes to days).
2. Log in once: hf auth login (or HF_TOKEN=… in the environment of a batch job).
3. Download everything where there is a network. HF_HOME is the download folder, by default ~/.cache/huggingface:

   export HF_HOME=/scratch/hf
   hf download meta-llama/Llama-2-7b-hf --include "*.safetensors" --include "*.json" --include "tokenizer*"
   hf download mistralai/Mistral-7B-Instruct-v0.2 --include "*.safetensors" --include "*.json" --include "tokenizer*"
   pip install 'prime-audit[paper]'

   The paper's encoder is published without safetensors, and no other weights are read. If you trust it, convert it:

   python -c "from transformers import AutoModel as M, AutoTokenizer as T; n = 'microsoft/deberta-v3-large'; \
   M.from_pretrained(n).save_pretrained('deberta'); T.from_pretrained(n).save_pretrained('deberta')"

4. Run, also without a network (HF_HUB_OFFLINE=1). One GPU of 80 GB fits base and profiler in bfloat16:

   HF_HUB_OFFLINE=1 python gated_llama.py --data LaMP/ --task LaMP-2 --encoder deberta
   HF_HUB_OFFLINE=1 python gated_llama.py --data LaMP/ --task LaMP-2 --encoder deberta --plan     time and memory

``org/name@revision`` names a commit, so that the same weights are loaded next year. The record has their hash.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prime_audit.errors import UserError

METHODS = "np,rag,pag,oppu,perpcs,prime,prime+rag,prime+pag"


def main(words: Sequence[str] | None = None) -> Any:
    """Compare the paper's methods, or predict time and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", required=True, help="LaMP's folder, or anything compare's --data accepts")
    parser.add_argument("--task", required=True, help="one of prime-audit list tasks")
    parser.add_argument("--model", help="another base; by default meta-llama/Llama-2-7b-hf")
    parser.add_argument("--encoder", help="another encoder; '' uses the base's own states")
    parser.add_argument("--profiler", help="another profiler; '' summarises by counting")
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as compare's --set")
    parser.add_argument("--out", type=Path, default=Path("runs/llama"))
    parser.add_argument("--cache", default="default", help="folder of cached adapters and answers")
    parser.add_argument("--plan", action="store_true", help="only predict time and memory")
    chosen = parser.parse_args(words)

    from prime_audit import compare, predict
    from prime_audit.forecast.forecast import headline

    options = {
        **{key: getattr(chosen, key) for key in ("data", "model", "encoder", "profiler", "device", "seed")},
        **{"tasks": chosen.task, "preset": "paper", "overrides": chosen.set, "cache": chosen.cache},
    }
    if chosen.plan:
        found = predict(chosen.methods, **options)
        print(headline(found))
        return found
    run = compare(chosen.methods, games="paper,heldout,target", out=chosen.out, **options)
    print(f"results are in {run.path}; rerun with prime-audit compare --config {run.path / 'config.toml'}")
    return run


if __name__ == "__main__":
    try:
        main()
    except UserError as fault:  # a model that cannot be loaded: one line, with what to do
        sys.exit(f"gated_llama: {fault}")
