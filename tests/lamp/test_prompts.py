"""Prompts to the exact character: the expected texts are written by hand from the paper and the protocol."""

from __future__ import annotations

import pytest

from prime_audit.errors import UserError
from prime_audit.lamp import prompts
from prime_audit.lamp.data import Item, Query, User
from prime_audit.lamp.profiles import summary_profile
from prime_audit.lamp.tasks import TASKS

TAG_LINE = (
    "Which tag does this movie relate to among the following tags? Just answer with the tag name without "
    "further explanation. tags: [sci-fi, based on a book, comedy, action, twist ending, dystopia, dark "
    "comedy, classic, psychology, fantasy, romance, thought-provoking, social commentary, violence, true "
    "story]"
)

NEWS_LINE = (
    "Which category does this article relate to among the following categories? Just answer with the "
    "category name without further explanation. categories: [travel, education, parents, style & beauty, "
    "entertainment, food & drink, science & technology, business, sports, healthy living, women, politics, "
    "crime, culture & arts, religion]"
)
REVIEW_LINE = (
    'Generate the review text written by a reviewer who has given an overall rating of "5.0" for a product '
    'with description "D". The summary of the review text is "S".'
)

QUESTIONS = {
    "LaMP-1": (
        {"title": "T", "option1": "A", "option2": "B"},
        "### User Instruction:\nIdentify the most relevant reference for the listed publication by the "
        "researcher. Select the reference paper that is most closely related to the researcher's work. "
        "Please respond with only the number that corresponds to the reference.\nPaper Title: T\n"
        "Reference: [1] - A [2] - B\nAnswer:",
    ),
    "LaMP-2": ({"description": "D"}, f"### User Instruction:\n{TAG_LINE}\nDescription: D Tag:"),
    "LaMP-3": (
        {"text": "R"},
        "### User Instruction:\nWhat is the score of the following review on a scale of 1 to 5? just answer "
        "with 1, 2, 3, 4, or 5 without further explanation.\nReview: R Score:",
    ),
    "LaMP-4": (
        {"text": "A"},
        "### User Instruction:\nGenerate a headline for the following article.\nArticle: A Headline:",
    ),
    "LaMP-5": (
        {"abstract": "A"},
        "### User Instruction:\nGenerate a title for the following abstract of a paper.\nAbstract: A Title:",
    ),
    "LaMP-7": (
        {"text": "X"},
        "### User Instruction:\nParaphrase the following text into tweet without any explanation before or "
        "after it.\nText: X Tweet:",
    ),
    "LaMP-2N": ({"text": "A"}, f"### User Instruction:\n{NEWS_LINE}\nArticle: A Category:"),
    "LongLaMP-abstract": (
        {"title": "T", "items": "1. K\n2. L"},
        '### User Instruction:\nGenerate an abstract for the title "T" using the following items: 1. K\n2. L\n'
        "Abstract:",
    ),
    "LongLaMP-topic": (
        {"summary": "S"},
        "### User Instruction:\nGenerate the content for a reddit post S\nContent:",
    ),
    "LongLaMP-review": (
        {"overall": "5.0", "description": "D", "summary": "S"},
        f"### User Instruction:\n{REVIEW_LINE}\nReview:",
    ),
}

ITEMS = {
    "LaMP-1": ({"title": "T", "citation": "C"}, "Paper Title: T\n", "Paper Title: T Reference: C"),
    "LaMP-2": (
        {"description": "D", "tag": "comedy"},
        "Description: D Tag: comedy\n",
        f"### User Instruction:\n{TAG_LINE}\nDescription: D Tag: comedy",
    ),
    "LaMP-3": (
        {"text": "R", "score": "4"},
        "Review: R Score: 4\n",
        "### User Instruction:\nWhat is the score of the following review on a scale of 1 to 5? just answer "
        "with 1, 2, 3, 4, or 5 without further explanation.\nReview: R Score: 4",
    ),
    "LaMP-4": (
        {"text": "A", "title": "H"},
        "Article: A Headline: H\n",
        "### User Instruction:\nGenerate a headline for the following article.\nArticle: A Headline: H",
    ),
    "LaMP-5": (
        {"abstract": "A", "title": "T"},
        "abstract: A title: T\n",
        "Generate a title for the following abstract of a paper.\n abstract: A title: T",
    ),
    "LaMP-7": ({"text": "X"}, "Tweet: X\n", "Tweet: X"),
    "LaMP-2N": (
        {"text": "A", "category": "sports"},
        "Article: A Category: sports\n",
        f"### User Instruction:\n{NEWS_LINE}\nArticle: A Category: sports",
    ),
    "LongLaMP-abstract": (
        {"title": "T", "abstract": "B"},
        '"B" is the abstract for the title "T"\n',
        '### User Instruction:\nGenerate an abstract for the title "T"\nAbstract: B',
    ),
    "LongLaMP-topic": (
        {"summary": "S", "content": "C"},
        '"S" is a summary for "C"\n',
        "### User Instruction:\nGenerate the content for a reddit post S\nContent: C",
    ),
    "LongLaMP-review": (
        {"overall": "5.0", "description": "D", "summary": "S", "reviewText": "R"},
        '"5.0" is a rating for the product with description "D". "S" is summary for "R"\n',
        f"### User Instruction:\n{REVIEW_LINE}\nReview: R",
    ),
}

REQUESTS = {
    "LaMP-1": "Write a summary, in English, of the research interests and topics of a researcher who has "
    "published the following papers. Only generate the summary, no other text. User History: "
    "['paper title: T reference: C'] Answer:",
    "LaMP-2": "Look at the following past movies this user has watched and determine the most popular tag "
    "they labeled. Answer in the following form: most popular tag: <tag>. User History: "
    "['description: D tag: comedy'] Answer:",
    "LaMP-3": "Based on this user's past reviews, what are the most common scores they give for positive and "
    "negative reviews? Answer in the following form: most common positive score: <most common positive "
    "score>, most common negative score: <most common negative score>. User History: "
    "['review: R score: 4'] Answer:",
    "LaMP-4": "Given this author's previous articles, try to describe a template for their headlines. I want "
    "to be able to accurately predict the headline given one of their articles. Be specific about their "
    "style and wording, don't tell me anything generic. User History: ['article: A headline: H'] Answer:",
    "LaMP-5": "Given this author's previous publications, try to describe a template for their titles. I "
    "want to be able to accurately predict the title of one of the papers from the abstract. Only generate "
    "the template description, nothing else. User History: ['abstract: A title: T'] Answer:",
    "LaMP-7": "Given this person's previous tweets, try to describe a template for their tweets. I want to "
    "take a generic sentence and rephrase it to sound like one of their tweets, with the same "
    "style/punctuation/capitalization/wording/tone/etc. as them. Only give me the template description, "
    "nothing else. User History: ['tweet: X'] Answer:",
    "LaMP-2N": "Look at the following past articles this journalist has written and determine the most popular "
    "category they write in. Answer in the following form: most popular category: <category>. User History: "
    "['article: A category: sports'] Answer:",
    "LongLaMP-abstract": "Given this author's previous publications, describe how they write abstracts: topics, "
    "structure, style and wording. Only generate the description, nothing else. User History: "
    "['title: T abstract: B'] Answer:",
    "LongLaMP-topic": "Given this person's previous posts, describe how they write: topics, structure, style and "
    "wording. Only generate the description, nothing else. User History: ['summary: S content: C'] Answer:",
    "LongLaMP-review": "Given this customer's previous reviews, describe how they write: what they praise and "
    "criticise, structure, style and wording. Only generate the description, nothing else. User History: "
    "['rating: 5.0 summary: S review: R'] Answer:",
}

HEADLINES = TASKS["LaMP-4"]


def headline(key: str, text: str, title: str = "H") -> Item:
    return Item(key, {"text": text, "title": title})


def reader(*texts: str, queries: tuple[Query, ...] = (), profile: str | None = None) -> User:
    return User("u", tuple(headline(f"i{n}", text) for n, text in enumerate(texts)), queries, profile)


@pytest.mark.parametrize("name", TASKS)
def test_question(name: str) -> None:
    fields, expected = QUESTIONS[name]
    assert prompts.question_prompt(TASKS[name], fields) == expected


@pytest.mark.parametrize("name", TASKS)
def test_question_with_profile_and_history(name: str) -> None:
    fields, question = QUESTIONS[name]
    item, line, _ = ITEMS[name]
    got = prompts.question_prompt(
        TASKS[name], fields, history=[Item("1", item), Item("2", item)], profile="likes\nlamps"
    )
    front = f"### User Profile:\nlikes\nlamps\n\n### User History:\n{line}{line}\n\n"
    assert got == front + question
    assert "\n\n\n###" in got


@pytest.mark.parametrize("name", TASKS)
def test_training_on_the_own_history(name: str) -> None:
    item, line, full = ITEMS[name]
    user = User("u", (Item("1", item), Item("2", item)))
    examples = prompts.history_examples(TASKS[name], user, profile="P")
    plain = [example for example in examples if example.kind == "plain"]
    assert [example.text for example in plain] == [full, full]
    augmented = [example for example in examples if example.kind == "augmented"]
    if name in ("LaMP-1", "LaMP-7"):
        assert augmented == []
    else:
        front = f"### User Profile:\nP\n\n### User History:\n{line}\n\n"
        assert [(example.item, example.text) for example in augmented] == [("2", front + full)]
    assert len({example.id for example in examples}) == len(examples)


@pytest.mark.parametrize("name", TASKS)
def test_profile_request(name: str) -> None:
    assert prompts.profile_request(TASKS[name], [Item("1", ITEMS[name][0])]) == REQUESTS[name]


def test_profile_request_lists_items_as_python_does() -> None:
    items = [headline("1", "it's"), headline("2", "b " * 300)]
    expected = f"""["article: it's headline: H", 'article: {" ".join(["b"] * 200)} headline: H']"""
    assert expected in prompts.profile_request(HEADLINES, items)


def test_profile_request_without_citation() -> None:
    request = prompts.profile_request(TASKS["LaMP-1"], [Item("1", {"title": "T"})])
    assert "['paper title: T']" in request


def test_history_items_are_cut_to_368_words_and_spaces_collapse() -> None:
    long = headline("1", "w " * 400, "one  two\nthree")
    assert prompts.item_text(HEADLINES, long) == f"Article: {' '.join(['w'] * 368)} Headline: one two three\n"
    assert prompts.history_block([]) == ""


def test_training_texts_are_cut_to_768_words_but_368_in_front() -> None:
    user = User("u", (headline("1", "w " * 800, "a  b"), headline("2", "w " * 800)))
    plain, *_, augmented = prompts.history_examples(HEADLINES, user)
    instruction = "### User Instruction:\nGenerate a headline for the following article.\nArticle: "
    assert plain.prompt == f"{instruction}{' '.join(['w'] * 768)} Headline:"
    assert plain.gold == "a b"
    shown = f"### User History:\nArticle: {' '.join(['w'] * 368)} Headline: a b\n\n\n"
    assert augmented.prompt == f"{shown}{instruction}{' '.join(['w'] * 768)} Headline:"


def test_questions_are_cut_for_adaptation_only() -> None:
    query = Query("q", {"text": "a  b " + "w " * 800}, "gold")
    user = reader("a b", queries=(query,))
    (tested,) = prompts.query_examples(HEADLINES, user)
    assert f"Article: {query.fields['text']} Headline:" in tested.prompt
    (trained,) = prompts.adaptation_examples(HEADLINES, user, "P")
    assert trained.prompt == (
        "### User Profile:\nP\n\n### User History:\nArticle: a b Headline: H\n\n\n### User Instruction:\n"
        f"Generate a headline for the following article.\nArticle: a b {' '.join(['w'] * 766)} Headline:"
    )
    assert (tested.id, tested.gold, tested.item, tested.kind, trained.kind) == (
        "q",
        "gold",
        "q",
        "plain",
        "augmented",
    )


def test_citation_questions_are_never_cut() -> None:
    fields = {"title": "a  b", "option1": "c\nd", "option2": "e"}
    user = User("u", (Item("1", {"title": "x"}),), (Query("q", fields, "[1]"),))
    (example,) = prompts.adaptation_examples(TASKS["LaMP-1"], user, None)
    assert example.prompt.startswith("### User History:\nPaper Title: x\n\n\n### User Instruction:\n")
    assert "Paper Title: a  b\nReference: [1] - c\nd [2] - e\nAnswer:" in example.prompt


def test_retrieval_prefers_shared_words_then_the_later_item() -> None:
    query = Query("q", {"text": "red lamp"}, "g")
    user = reader("red lamp", "blue chair", "green sofa", "blue chair", queries=(query,))
    (example,) = prompts.query_examples(HEADLINES, user, k=2, profile="P")
    assert example.prompt.startswith(
        "### User Profile:\nP\n\n### User History:\nArticle: red lamp Headline: H\n"
        "Article: blue chair Headline: H\n\n\n### User Instruction:\n"
    )
    (example,) = prompts.query_examples(HEADLINES, user, k=4)
    assert example.prompt.startswith("### User History:\nArticle: red lamp Headline: H\n")
    (example,) = prompts.query_examples(HEADLINES, user, k=0)
    assert example.prompt.startswith("### User Instruction:\n")


def test_retrieval_ties_go_to_the_later_item() -> None:
    query = Query("q", {"text": "nothing shared"}, "g")
    user = reader("blue chair", "green sofa", "red lamp", queries=(query,))
    (example,) = prompts.query_examples(HEADLINES, user, k=3)
    texts = ("red lamp", "green sofa", "blue chair")
    block = "".join(f"Article: {text} Headline: H\n" for text in texts)
    assert example.prompt.startswith(f"### User History:\n{block}\n\n")


@pytest.mark.parametrize(
    ("name", "query"),
    [
        (
            "LaMP-1",
            "Identify the most relevant reference for the listed publication by the researcher. Select the "
            "reference paper that is most closely related to the researcher's work. Please respond with only "
            "the number that corresponds to the reference.\npaper title: X",
        ),
        (
            "LaMP-2",
            "Which tag does this movie relate to among the following tags? Just answer with the tag name "
            "without further explanation.\n Description: X",
        ),
        ("LaMP-3", "What is the score of the following review on a scale of 1 to 5? review: X"),
        ("LaMP-4", "Generate a headline for the following article: X"),
        ("LaMP-5", "Generate a title for the following abstract of a paper: X"),
        ("LaMP-7", "Paraphrase the following text into tweet without any explanation before or after it: X"),
    ],
)
def test_what_is_searched_for(name: str, query: str) -> None:
    task = TASKS[name]
    assert task.retrieval_query.format(**{task.text_field: "X"}) == query


def test_only_earlier_items_of_the_pool_stand_in_front() -> None:
    user = reader("red lamp", "red lamp", "red lamp", "red lamp")
    examples = prompts.history_examples(HEADLINES, user, items={"i1", "i3"}, pool={"i2", "i3"})
    assert [(example.item, example.kind) for example in examples] == [
        ("i1", "plain"),
        ("i3", "plain"),
        ("i3", "augmented"),
    ]
    distinct = User("u", tuple(headline(f"i{n}", "red lamp", f"H{n}") for n in range(4)))
    *_, last = prompts.history_examples(HEADLINES, distinct, pool={"i1", "i3"})
    assert last.prompt.startswith("### User History:\nArticle: red lamp Headline: H1\n\n\n")
    plain = prompts.history_examples(HEADLINES, distinct, augmented=False)
    assert [example.kind for example in plain] == ["plain"] * 4


def test_a_user_without_history_or_profile_gets_the_bare_question() -> None:
    user = User("u", (), (Query("q", {"text": "A"}, "g"),))
    (example,) = prompts.query_examples(HEADLINES, user, k=4)
    assert example.prompt == QUESTIONS["LaMP-4"][1]
    assert prompts.adaptation_examples(HEADLINES, user, None)[0].prompt == QUESTIONS["LaMP-4"][1]


def test_training_on_citations_that_are_not_there_is_refused_in_one_line() -> None:
    user = User("u", (Item("7", {"title": "T"}),))
    with pytest.raises(UserError, match="item 7 of user u has no citation") as caught:
        prompts.history_examples(TASKS["LaMP-1"], user)
    assert "\n" not in str(caught.value)


def test_summaries() -> None:
    def summary(name: str, *fields: dict[str, str]) -> str:
        history = [Item(str(n), item) for n, item in enumerate(fields)]
        return summary_profile(TASKS[name], history)

    tags = [{"description": "D", "tag": tag} for tag in ("comedy", "classic", "classic")]
    assert summary("LaMP-2", *tags) == "most popular tag: classic"
    assert summary("LaMP-2", *tags[:2]) == "most popular tag: comedy"
    news = [{"text": "A", "category": kind} for kind in ("crime", "women", "women")]
    assert summary("LaMP-2N", *news) == "most popular category: women"
    assert summary("LongLaMP-topic", {"summary": "S", "content": "So it goes."}).startswith(
        "posts of about 3"
    )
    scores = [{"text": "R", "score": score} for score in "554123"]
    assert summary("LaMP-3", *scores) == "most common positive score: 5, most common negative score: 1"
    assert summary("LaMP-3", scores[0]) == "most common positive score: 5"
    assert summary("LaMP-3", scores[-1]) == "most common score: 3"
    papers = [{"title": "Merging adapters", "citation": "Adapters for all"}, {"title": "On merging lamps"}]
    assert summary("LaMP-1", *papers) == "research interests and topics: adapters, merging, lamps"
    headlines = [{"text": "A", "title": "Why Lamps Glow?"}, {"text": "A", "title": "Ten Lamps To Buy"}]
    assert summary("LaMP-4", *headlines) == (
        "titles of about 4 words (3 to 4), in title case, 50% with a question; "
        "frequent words: lamps, buy, glow, ten"
    )
    assert summary("LaMP-7", {"text": "so tired!!"}) == (
        "tweets of about 2 words (2 to 2), in sentence case, 100% with an exclamation; frequent words: tired"
    )
    assert summary("LaMP-5") == "no history"
