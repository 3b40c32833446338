"""Retrieval: the k best history items (BM25) in front of the prompt."""

from __future__ import annotations

from prime_audit.plugins import Augment, Param, method

K = Param("k", 1, "history items put in front of the prompt")


@method(source="Salemi et al. 2024; PriME, Table 1 (RAG)", params=(K,), augments=True)
def augment(*, k: int, alone: bool) -> Augment:
    """Put the k history items that BM25 finds for the question in front of it."""
    return Augment(k=k)
