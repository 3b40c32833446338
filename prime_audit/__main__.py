"""``python -m prime_audit``."""

from prime_audit.commands.cli import main

main()
