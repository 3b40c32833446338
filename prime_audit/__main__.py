"""``python -m prime_audit``."""

from prime_audit.cli import main

main()
