"""What the work costs, by counting: FLOPs and bytes of a model, and of a whole LaMP run.

``python tests/benchmarks/costs.py --task LaMP-2`` prints the prediction that docs/costs.md shows. Needs no torch.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from prime_audit.engine.mixture import Spent
from prime_audit.settings import load_settings


@dataclass(frozen=True)
class Model:
    """A Llama's measures."""

    layers: int
    hidden: int
    heads: int
    """Width of all query heads together."""
    cached: int
    """Width of all key heads together; the values have the same."""
    inner: int
    vocab: int

    @classmethod
    def of(cls, config: Any) -> Model:
        """Read them from a Hugging Face configuration."""
        head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return cls(
            config.num_hidden_layers,
            config.hidden_size,
            config.num_attention_heads * head,
            config.num_key_value_heads * head,
            config.intermediate_size,
            config.vocab_size,
        )

    @property
    def body(self) -> int:
        """Weights of the decoder layers' matrices."""
        attention = 2 * self.hidden * (self.heads + self.cached)
        return self.layers * (attention + 3 * self.hidden * self.inner)

    @property
    def head(self) -> int:
        """Weights of the output layer."""
        return self.hidden * self.vocab

    def read(self, tokens: float, context: float = 0.0) -> float:
        """FLOPs of a forward pass over tokens that each look at ``context`` tokens, output layer apart."""
        return tokens * (2 * self.body + 4 * self.layers * self.heads * context)

    def flops(self, spent: Spent, training: bool = False) -> float:
        """FLOPs of what was done; attention counted, adapters (below 1 % for three of rank 8 at 7B) not.

        In training the weights are frozen: the backward pass costs one forward pass, not two.
        """
        long = spent.prompt_tokens / max(1, spent.requests)
        reading = self.read(spent.prompt_tokens, long / 2) * (2 if training else 1)
        return reading + self.read(spent.new_tokens, long) + 2 * self.head * spent.new_tokens

    def step_bytes(self, rows: int, context: float, width: int = 2) -> float:
        """Bytes that one decode step must move: all weights once, each row's keys and values."""
        return width * (self.body + self.head + rows * context * 2 * self.layers * self.cached)


LLAMA_2_7B = Model(32, 4096, 4096, 4096, 11008, 32000)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What a data set and its answers look like; not known before the data are read."""

    prompt: float = 300
    """Tokens of a prompt."""
    gold: float = 16
    """Tokens of an answer, end-of-text included."""
    adapt: int = 10_000
    """Questions that adapt the base."""
    history: int = 200
    """Training examples of a sharer."""
    queries: int = 100
    """Test questions of all targets."""


@dataclass(frozen=True)
class Stage:
    """One stage of a run."""

    name: str
    read: float
    """Tokens read, each time anew."""
    new: float = 0.0
    """Tokens generated."""
    passes: int = 1
    """2 in training."""


def stages(task: str, sizes: Sizes) -> list[Stage]:
    """Count the tokens of a ``--preset paper`` run of PriME and Per-Pcs on one task; its game scores all sharers."""
    settings = load_settings("paper", [])

    def number(key: str) -> Any:
        return settings.get(key, task)

    text = sizes.prompt + sizes.gold
    targets, sharers = number("targets"), number("clusters")
    prime_k, budget = number("prime.k"), number("prime.budget")
    items = number("last_items") * (2 if task in ("LaMP-2", "LaMP-3", "LaMP-4", "LaMP-5") else 1)
    asked = targets * items * number("prime.share")
    gates = sharers * number("gate.steps") * number("gate.batch")
    return [
        Stage("adaptation", sizes.adapt * number("adaptation.epochs") * text, passes=2),
        Stage("sharers", sharers * sizes.history * number("sharer.epochs") * text, passes=2),
        Stage("sharers' predictions", asked * prime_k * sizes.prompt, asked * prime_k * sizes.gold),
        Stage("search", asked * (budget + 1) * sizes.prompt, asked * (budget + 1) * sizes.gold),
        Stage("gates", gates * text, passes=2),
        Stage("assembly", targets * items * text),
        Stage("test questions", 2 * sizes.queries * sizes.prompt, 2 * sizes.queries * sizes.gold),
        Stage("scoring", 2 * targets * sharers * items * text),
    ]


def seconds(model: Model, stage: Stage, sizes: Sizes, rate: float, bandwidth: float, rows: int) -> float:
    """Time of a stage where reading goes at ``rate`` FLOP/s and decode steps at ``bandwidth`` bytes/s."""
    reading = stage.passes * model.read(stage.read, sizes.prompt / 2) / rate
    return reading + stage.new / rows * model.step_bytes(rows, sizes.prompt) / bandwidth


def main() -> None:
    """Print the prediction of a run, stage by stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="LaMP-2")
    parser.add_argument("--rate", type=float, default=4e14, help="FLOP/s of reading")
    parser.add_argument("--bandwidth", type=float, default=1.5e12, help="bytes/s of decode steps")
    parser.add_argument("--rows", type=int, default=64, help="rows that decode together")
    for name, value in vars(Sizes()).items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    asked = vars(parser.parse_args())
    sizes = Sizes(**{name: asked[name] for name in vars(Sizes())})
    print(f"{'stage':22}{'tokens read':>14}{'generated':>12}{'PFLOP':>10}{'hours':>8}")
    total = 0.0
    for stage in stages(asked["task"], sizes):
        took = seconds(LLAMA_2_7B, stage, sizes, asked["rate"], asked["bandwidth"], asked["rows"]) / 3600
        work = (
            stage.passes * LLAMA_2_7B.read(stage.read, sizes.prompt / 2)
            + LLAMA_2_7B.read(stage.new, sizes.prompt)
        ) / 1e15
        total += took
        print(f"{stage.name:22}{stage.read:14,.0f}{stage.new:12,.0f}{work:10,.0f}{took:8.2f}")
    print(f"{'all':22}{total:44.2f}")


if __name__ == "__main__":
    main()
