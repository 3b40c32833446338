"""The columns of a scores file: what each means and changes. Help, docs and the reader share the table."""

from __future__ import annotations

from dataclasses import dataclass

from prime_audit.io.tables import PEOPLE, with_ids


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column that is read."""

    name: str
    holds: str
    """Its values."""
    says: str
    """What it means, and what it changes."""
    others: tuple[str, ...]
    """Other names it goes by, most trusted first: lower-case letters and digits. They are suggested, never taken."""


COLUMNS = (
    Column(
        name="score",
        holds="number",
        says="Higher = member. Required. Infinite is allowed; empty, NaN and true/false are not.",
        others=("scores", "s", "value", "prob", "probability", "confidence", "logit", "signal"),
    ),
    Column(
        name="member",
        holds="1/0, 1/-1, true/false, yes/no, member/non-member",
        says="Whether the item was trained on. Required.",
        others=(
            "ismember",
            "members",
            "membership",
            "label",
            "labels",
            "y",
            "ytrue",
            "intrain",
            "trained",
            "seen",
        ),
    ),
    Column(
        name="attack",
        holds="text",
        says="Which score it is. Each attack has its own row of results.",
        others=("attackname", "name", "metric", "scorename"),
    ),
    Column(
        name="target",
        holds="id",
        says="Whose model was attacked. The AUC is the mean over targets.",
        others=with_ids("target", "victim", "targetuser", "model"),
    ),
    Column(
        name="sharer",
        holds="id",
        says="Whose item it is. Intervals, p and ε take people as independent, not rows.",
        others=(*with_ids("sharer", "owner"), *PEOPLE),
    ),
    Column(
        name="item",
        holds="id",
        says="The item's id. It identifies one item in several targets' games.",
        others=(*with_ids("item"), "id", *with_ids("example", "sample")),
    ),
    Column(
        name="task",
        holds="text",
        says="What was learned. Tasks are tested separately.",
        others=("dataset", "taskname"),
    ),
    Column(
        name="method",
        holds="text",
        says="How the model was made. p (adjusted) corrects over all attacks and methods of a task and game.",
        others=("methodname", "baseline", "system"),
    ),
    Column(
        name="game",
        holds="text",
        says="How members were chosen (paper, heldout, …). It decides what is tested and whether ε is bounded.",
        others=("gamename",),
    ),
)
"""What ``stats`` reads; other columns are ignored."""
ROLES = tuple(column.name for column in COLUMNS)
OTHERS = {column.name: column.others for column in COLUMNS}
"""Role → other names of its column."""
