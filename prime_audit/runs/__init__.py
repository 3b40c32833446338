"""A plan carried out: tasks, the ledger, rescoring."""
