"""The built-in world of simulated users, and the tiny model trained on it."""
