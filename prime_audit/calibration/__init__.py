"""Tests of the auditor on audits whose truth is known."""
