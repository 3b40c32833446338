"""Membership games: who is a member, what models are queried for, and what a verdict may say."""
