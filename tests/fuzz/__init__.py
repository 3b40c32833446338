"""Every reader of files under mutated input: ``python -m tests.fuzz --minutes 10``."""
