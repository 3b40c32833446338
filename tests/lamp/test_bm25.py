from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from prime_audit.lamp.bm25 import Index

words = st.sampled_from(["a", "b", "c", "d", "e\n", "", "A", "the"])
texts = st.lists(words, min_size=1, max_size=12).map(" ".join)


def plain_scores(
    query: str, docs: list[str], k1: float = 1.5, b: float = 0.75, epsilon: float = 0.25
) -> list[float]:
    """Okapi BM25 as ``rank_bm25`` 0.2.2 defines it, written out."""
    split = [doc.split(" ") for doc in docs]
    vocabulary = list(dict.fromkeys(word for doc in split for word in doc))
    idf = {}
    for word in vocabulary:
        holding = sum(word in doc for doc in split)
        idf[word] = math.log(len(docs) - holding + 0.5) - math.log(holding + 0.5)
    mean = sum(idf.values()) / len(idf)
    idf = {word: value if value >= 0 else epsilon * mean for word, value in idf.items()}
    average = sum(len(doc) for doc in split) / len(split)
    scores = []
    for doc in split:
        score = 0.0
        for word in query.split(" "):
            count = doc.count(word)
            score += idf.get(word, 0) * (count * (k1 + 1) / (count + k1 * (1 - b + b * len(doc) / average)))
        scores.append(score)
    return scores


@given(query=texts, docs=st.lists(texts, min_size=1, max_size=12))
def test_scores_are_bit_equal_to_a_plain_computation(query: str, docs: list[str]) -> None:
    np.testing.assert_array_equal(Index(docs).scores(query), plain_scores(query, docs))


@given(query=texts, docs=st.lists(texts, min_size=1, max_size=12))
def test_adding_one_by_one_is_building_at_once(query: str, docs: list[str]) -> None:
    growing = Index()
    for number, doc in enumerate(docs):
        growing.add(doc)
        np.testing.assert_array_equal(growing.scores(query), Index(docs[: number + 1]).scores(query))


def test_numbers_of_the_rank_bm25_package() -> None:
    docs = ["Hello there good man!", "It is quite windy in London", "How is the weather today?"]
    got = Index(docs).scores("windy London")
    np.testing.assert_allclose(got, [0.0, 0.93729472, 0.0], atol=1e-8)


def test_of_equal_scores_the_later_is_first() -> None:
    assert Index(["x y", "z", "x y", "x y", "z", "z", "z"]).top("x", 4)[:3] == [3, 2, 0]
    assert Index(["a"] * 40).top("nothing", 3) == [39, 38, 37]


def test_nothing_to_search() -> None:
    assert Index([]).top("x", 3) == []
    assert Index(["x"]).top("x", 0) == []
    assert len(Index(["x", "y"])) == 2
