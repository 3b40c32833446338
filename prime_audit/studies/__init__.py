"""Studies: every table and figure of the paper as one command, and some that it lacks; ``catalog`` lists them."""
