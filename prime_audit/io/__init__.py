"""Text in and out: files from outside, the terminal, markup."""
