"""From options to a plan: what a run will do, before any model is loaded."""
