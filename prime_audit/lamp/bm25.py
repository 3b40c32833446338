"""Okapi BM25, bit-equal to the ``rank_bm25`` package, but incremental and vectorised.

A history item is searched against the items before it. Adding one document costs only its own words; rebuilding the
index for every item would cost the whole history each time.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

K1 = 1.5
"""Saturation of a word's count in a document."""
B = 0.75
"""Weight of a document's length."""
EPSILON = 0.25
"""Share of the mean inverse document frequency for words in over half of the documents."""


class Index:
    """Documents to search, split on single spaces in the order added. Line breaks and case stay."""

    def __init__(self, docs: Sequence[str] = ()) -> None:
        self._ids: dict[str, int] = {}  # word -> its place in the three lists, by first occurrence
        self._frequency = array("q")  # documents that contain the word
        self._docs: list[array[int]] = []  # those documents
        self._counts: list[array[int]] = []  # how often each contains it
        self._lengths = array("q")  # words in each document
        self._logs = array("d", [math.log(0.5)])  # log(n + 1/2), n = 0 .. documents
        for doc in docs:
            self.add(doc)

    def __len__(self) -> int:
        return len(self._lengths)

    def add(self, doc: str) -> None:
        """Append one document."""
        words = doc.split(" ")
        for word, count in Counter(words).items():
            word_id = self._ids.setdefault(word, len(self._frequency))
            if word_id == len(self._frequency):
                self._frequency.append(0)
                self._docs.append(array("q"))
                self._counts.append(array("q"))
            self._frequency[word_id] += 1
            self._docs[word_id].append(len(self._lengths))
            self._counts[word_id].append(count)
        self._lengths.append(len(words))
        self._logs.append(math.log(len(self._lengths) + 0.5))

    def scores(self, query: str) -> Floats:
        """Return each document's score, ``[documents]``; a repeated query word counts repeatedly."""
        found = [self._ids[word] for word in query.split(" ") if word in self._ids]
        if not found:
            return np.zeros(len(self))
        lengths = np.frombuffer(self._lengths, dtype=np.int64)
        norm = K1 * (1 - B + B * lengths / (int(lengths.sum()) / len(self)))
        docs = _joined([self._docs[i] for i in found])
        counts = _joined([self._counts[i] for i in found])
        idf = np.repeat(self._idf()[found], [len(self._docs[i]) for i in found])
        gains = idf * (counts * (K1 + 1) / (counts + norm[docs]))
        # bincount adds in order, query word by query word, as the package does: equal to the last bit.
        total: Floats = np.bincount(docs, weights=gains, minlength=len(self)).astype(np.float64, copy=False)
        return total

    def top(self, query: str, k: int) -> list[int]:
        """Return the places of the ``k`` best documents, best first; of equal scores the later is first."""
        return [int(i) for i in np.argsort(self.scores(query), kind="stable")[::-1][:k]]

    def _idf(self) -> Floats:
        # math.log from a table and a running sum: numpy's log and pairwise sum differ in the last bit.
        logs = np.frombuffer(self._logs, dtype=np.float64)
        frequency = np.frombuffer(self._frequency, dtype=np.int64)
        idf: Floats = logs[len(self) - frequency] - logs[frequency]
        mean = np.cumsum(idf)[-1] / len(idf)
        return np.where(idf < 0, EPSILON * mean, idf)


def _joined(parts: Sequence[array[int]]) -> Ints:
    return np.frombuffer(b"".join(parts), dtype=np.int64)
