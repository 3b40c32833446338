"""For authors of plugins: check, scaffold, describe."""
