"""The six LaMP tasks as one table: fields, labels, metrics and every template that decides a token.

Templates are those of the paper's Tables 11 and 12. Line breaks, item templates, retrieval queries and training
templates are those of the released Per-Pcs code, whose results the paper compares with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from prime_audit.errors import unknown

Kind: TypeAlias = Literal["classification", "rating", "generation"]

TAGS = (
    "sci-fi",
    "based on a book",
    "comedy",
    "action",
    "twist ending",
    "dystopia",
    "dark comedy",
    "classic",
    "psychology",
    "fantasy",
    "romance",
    "thought-provoking",
    "social commentary",
    "violence",
    "true story",
)
"""LaMP-2's labels, in the order of Table 12."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One LaMP task: a row of the table."""

    name: str
    """The name in records and on leaderboards, for example ``LaMP-2``."""
    short: str
    """The name of the task in Per-Pcs and OPPU, which is also the name of its folder."""
    aliases: tuple[str, ...] = ()
    """Further spellings accepted by :func:`find_task`."""
    kind: Kind
    """What is predicted; decides the metrics."""
    item_fields: tuple[str, ...]
    """The fields of a history item that every item must have."""
    optional_fields: tuple[str, ...] = ()
    """Fields of a history item that a layout may lack (read where present)."""
    text_field: str
    """The item field used as the question."""
    gold_field: str
    """The item field used as the gold in training."""
    query_fields: tuple[str, ...]
    """The fields of a question, in the order of its text."""
    labels: tuple[str, ...] = ()
    """All allowed golds, in the benchmark's order; empty for generation."""
    instruction: str
    """The evaluation prompt (Table 12), formatted with the query fields."""
    history_item: str
    """One item of the history block, and the document BM25 searches; ends in a line break."""
    retrieval_query: str
    """The text BM25 searches with, formatted with a query's or an item's fields."""
    training: str
    """The prompt of a history item in training, formatted with the item's fields."""
    profile_prompt: str
    """Table 11's prompt for writing a profile; ``{history}`` is the bracketed list of items."""
    profile_item: str
    """One item of that list, in lower case."""
    question: str
    """The official question's text, formatted with the query fields."""
    question_pattern: str
    """Regular expression that finds the query fields in an official question."""
    augmented_training: bool
    """Whether a history item (except the first) also trains with an earlier item and the profile in front."""
    cut_questions: bool = True
    """Whether a question that adapts the base model is cut to 768 words (all tasks except LaMP-1)."""

    @property
    def official(self) -> str:
        """The name in official output files, for example ``LaMP_2``."""
        return self.name.replace("-", "_")

    @property
    def metrics(self) -> tuple[str, str]:
        """The task's two metrics, in the paper's order."""
        return _METRICS[self.kind]

    @property
    def higher_is_better(self) -> bool:
        """Return whether both metrics are gains (false for LaMP-3, whose metrics are errors)."""
        return self.kind != "rating"

    def parse_question(self, text: str) -> dict[str, str] | None:
        """Find the query fields in an official question; None where its fixed text is missing.

        LaMP-1's titles may contain quotation marks, so a field is everything between the fixed texts. A question with
        two possible readings is malformed too. In the other tasks the text is what follows the first marker, as in
        the released code.
        """
        match = re.fullmatch(self.question_pattern, text, re.DOTALL)
        if match is None:
            return None
        lazy = re.fullmatch(self.question_pattern.replace(".*)", ".*?)"), text, re.DOTALL)
        if lazy is None or lazy.groupdict() != match.groupdict():
            return None
        return match.groupdict()

    def format_question(self, fields: Mapping[str, str]) -> str:
        """Write the official question with these query fields."""
        return self.question.format(**fields)


_METRICS: dict[Kind, tuple[str, str]] = {
    "classification": ("accuracy", "f1"),
    "rating": ("MAE", "RMSE"),
    "generation": ("rouge-1", "rouge-L"),
}

_USER = "### User Instruction:\n"
_CITE = (
    "Identify the most relevant reference for the listed publication by the researcher. Select the reference "
    "paper that is most closely related to the researcher's work. Please respond with only the number that "
    "corresponds to the reference."
)
_TAG_ASK = (
    "Which tag does this movie relate to among the following tags? Just answer with the tag name without "
    "further explanation."
)
_TAG = f"{_TAG_ASK} tags: [{', '.join(TAGS)}]"
_RATE_ASK = "What is the score of the following review on a scale of 1 to 5?"
_RATE = f"{_RATE_ASK} just answer with 1, 2, 3, 4, or 5 without further explanation."
_HEADLINE = "Generate a headline for the following article"
_TITLE = "Generate a title for the following abstract of a paper"
_TWEET = "Paraphrase the following text into tweet without any explanation before or after it"
_TWEET_QUESTION = "Paraphrase the following tweet without any explanation before or after it: "

_LAMP_1 = Task(
    name="LaMP-1",
    short="citation",
    kind="classification",
    item_fields=("title",),
    # Official files have no citation, and the abstract is in no prompt.
    optional_fields=("abstract", "citation"),
    text_field="title",
    gold_field="citation",
    query_fields=("title", "option1", "option2"),
    labels=("[1]", "[2]"),
    instruction=(
        f"{_USER}{_CITE}\nPaper Title: {{title}}\nReference: [1] - {{option1}} [2] - {{option2}}\nAnswer:"
    ),
    history_item="Paper Title: {title}\n",
    retrieval_query=f"{_CITE}\npaper title: {{title}}",
    training="Paper Title: {title} Reference:",
    profile_prompt=(
        "Write a summary, in English, of the research interests and topics of a researcher who has published "
        "the following papers. Only generate the summary, no other text. User History: {history} Answer:"
    ),
    profile_item="paper title: {title} reference: {citation}",
    question=(
        'For an author who has written the paper with the title "{title}", which reference is related? Just '
        'answer with [1] or [2] without explanation. [1]: "{option1}" [2]: "{option2}"'
    ),
    question_pattern=(
        r'For an author who has written the paper with the title "(?P<title>.*)", which reference is related'
        r"\? Just answer with \[1\] or \[2\] without explanation\. "
        r'\[1\]: "(?P<option1>.*)" \[2\]: "(?P<option2>.*)"\s*'
    ),
    augmented_training=False,
    cut_questions=False,
)

_LAMP_2 = Task(
    name="LaMP-2",
    short="movie_tagging",
    aliases=("LaMP_2M", "LaMP-2M", "LaMP2M"),
    kind="classification",
    item_fields=("description", "tag"),
    text_field="description",
    gold_field="tag",
    query_fields=("description",),
    labels=TAGS,
    instruction=f"{_USER}{_TAG}\nDescription: {{description}} Tag:",
    history_item="Description: {description} Tag: {tag}\n",
    retrieval_query=f"{_TAG_ASK}\n Description: {{description}}",
    training=f"{_USER}{_TAG}\nDescription: {{description}} Tag:",
    profile_prompt=(
        "Look at the following past movies this user has watched and determine the most popular tag they "
        "labeled. Answer in the following form: most popular tag: <tag>. User History: {history} Answer:"
    ),
    profile_item="description: {description} tag: {tag}",
    question=f"{_TAG} description: {{description}}",
    question_pattern=r".*?\] description: (?P<description>.*)",
    augmented_training=True,
)

_LAMP_3 = Task(
    name="LaMP-3",
    short="product_rating",
    kind="rating",
    item_fields=("text", "score"),
    text_field="text",
    gold_field="score",
    query_fields=("text",),
    labels=("1", "2", "3", "4", "5"),
    instruction=f"{_USER}{_RATE}\nReview: {{text}} Score:",
    history_item="Review: {text} Score: {score}\n",
    retrieval_query=f"{_RATE_ASK} review: {{text}}",
    training=f"{_USER}{_RATE}\nReview: {{text}} Score:",
    profile_prompt=(
        "Based on this user's past reviews, what are the most common scores they give for positive and "
        "negative reviews? Answer in the following form: most common positive score: <most common positive "
        "score>, most common negative score: <most common negative score>. User History: {history} Answer:"
    ),
    profile_item="review: {text} score: {score}",
    question=f"{_RATE} review: {{text}}",
    question_pattern=r".*?further explanation\. review: (?P<text>.*)",
    augmented_training=True,
)

_LAMP_4 = Task(
    name="LaMP-4",
    short="news_headline",
    kind="generation",
    item_fields=("text", "title"),
    text_field="text",
    gold_field="title",
    query_fields=("text",),
    instruction=f"{_USER}{_HEADLINE}.\nArticle: {{text}} Headline:",
    history_item="Article: {text} Headline: {title}\n",
    retrieval_query=f"{_HEADLINE}: {{text}}",
    training=f"{_USER}{_HEADLINE}.\nArticle: {{text}} Headline:",
    # The released file has the typo "gives one of their articles"; this follows the paper's table.
    profile_prompt=(
        "Given this author's previous articles, try to describe a template for their headlines. I want to be "
        "able to accurately predict the headline given one of their articles. Be specific about their style "
        "and wording, don't tell me anything generic. User History: {history} Answer:"
    ),
    profile_item="article: {text} headline: {title}",
    question=f"{_HEADLINE}: {{text}}",
    question_pattern=rf".*?{_HEADLINE}: (?P<text>.*)",
    augmented_training=True,
)

_LAMP_5 = Task(
    name="LaMP-5",
    short="scholarly_title",
    kind="generation",
    item_fields=("abstract", "title"),
    text_field="abstract",
    gold_field="title",
    query_fields=("abstract",),
    instruction=f"{_USER}{_TITLE}.\nAbstract: {{abstract}} Title:",
    history_item="abstract: {abstract} title: {title}\n",
    retrieval_query=f"{_TITLE}: {{abstract}}",
    training=f"{_TITLE}.\n abstract: {{abstract}} title:",
    profile_prompt=(
        "Given this author's previous publications, try to describe a template for their titles. I want to "
        "be able to accurately predict the title of one of the papers from the abstract. Only generate the "
        "template description, nothing else. User History: {history} Answer:"
    ),
    profile_item="abstract: {abstract} title: {title}",
    question=f"{_TITLE}: {{abstract}}",
    question_pattern=rf".*?{_TITLE}: (?P<abstract>.*)",
    augmented_training=True,
)

_LAMP_7 = Task(
    name="LaMP-7",
    short="tweet_paraphrase",
    kind="generation",
    item_fields=("text",),
    text_field="text",
    gold_field="text",
    query_fields=("text",),
    instruction=f"{_USER}{_TWEET}.\nText: {{text}} Tweet:",
    history_item="Tweet: {text}\n",
    retrieval_query=f"{_TWEET}: {{text}}",
    training="Tweet:",
    profile_prompt=(
        "Given this person's previous tweets, try to describe a template for their tweets. I want to take a "
        "generic sentence and rephrase it to sound like one of their tweets, with the same style/punctuation/"
        "capitalization/wording/tone/etc. as them. Only give me the template description, nothing else. "
        "User History: {history} Answer:"
    ),
    profile_item="tweet: {text}",
    question=f"{_TWEET_QUESTION}{{text}}",
    question_pattern=rf".*?{_TWEET_QUESTION}(?P<text>.*)",
    augmented_training=False,
)

TASKS: dict[str, Task] = {task.name: task for task in (_LAMP_1, _LAMP_2, _LAMP_3, _LAMP_4, _LAMP_5, _LAMP_7)}
"""Every task by its name, in the benchmark's order (LaMP-6's data is not public)."""

_SPELLINGS = {
    spelling.lower(): task
    for task in TASKS.values()
    for spelling in (task.name, task.short, task.official, task.name.replace("-", ""), *task.aliases)
}


def find_task(name: str) -> Task:
    """Return the task of this name, in any spelling and case. Raises the unknown-name error otherwise."""
    task = _SPELLINGS.get(name.strip().lower())
    if task is None:
        raise unknown("task", name, [*TASKS, *(task.short for task in TASKS.values())])
    return task
