"""Profile texts: by an instruct model with Table 11's prompts, else the data's own, else a summary by counting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from prime_audit.engine.batches import Tick, nothing
from prime_audit.engine.mixture import Request
from prime_audit.lamp.data import User
from prime_audit.lamp.profiles import REWORDED, summary_profile
from prime_audit.lamp.prompts import profile_request
from prime_audit.lamp.tasks import Task
from prime_audit.seeds import rng_of, seed_of

if TYPE_CHECKING:
    from prime_audit.engine.engine import Engine

MAX_NEW = 300


def plain_profile(task: Task, user: User) -> str:
    """Return the data's profile text, or the summary of the user's history."""
    return user.profile or summary_profile(task, user.history)


def shown_profile(task: Task, user: User, texts: Mapping[str, str], wording: str) -> str:
    """Return the profile text to put before a user's prompts, in a ``wording`` (``Augment.wording``).

    ``user``: with the history that methods see; ``texts``: user id → the text made of it.
    """
    return texts[user.id] if wording == "given" else summary_profile(task, user.history, REWORDED)


def written_profiles(
    task: Task, users: Sequence[User], writer: Engine, items: int, seed: int, tick: Tick = nothing
) -> dict[str, str]:
    """Write each user's profile with an instruct model, from ``items`` random history items (Table 11).

    Sampled at temperature 0.6, top-k 10, top-p 0.9, at most 300 tokens; each user has random numbers of their own.
    """
    from prime_audit.engine.sampling import Sampling

    writer.sampling = Sampling(0.6, 0.9, 10, seed_of(seed, "profile", task.name))
    requests = []
    for user in users:
        rng = rng_of(seed, "profile items", task.name, user.id)
        count = min(items, len(user.history))
        drawn = rng.choice(len(user.history), size=count, replace=False).tolist() if count else []
        prompt = _as_chat(writer, profile_request(task, [user.history[i] for i in drawn]))
        requests.append(Request(prompt, key=(user.id,)))
    texts = writer.generate(requests, MAX_NEW, tick)
    return {user.id: text for user, text in zip(users, texts, strict=True)}


def _as_chat(writer: Engine, prompt: str) -> str:
    tokenizer = writer.base.codec.tokenizer
    if not tokenizer.chat_template:
        return prompt
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    # The codec adds begin-of-text itself.
    return str(text).removeprefix(tokenizer.bos_token or "")
