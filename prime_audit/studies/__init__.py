"""Studies: every table and figure of the paper as one command, and some new ones; ``catalog`` lists them."""
