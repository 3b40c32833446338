"""The auditor examined on audits whose truth is known."""
