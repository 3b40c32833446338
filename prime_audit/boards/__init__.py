"""Leaderboards: committed records in, tables, frontiers and pages out; nothing here needs torch."""
