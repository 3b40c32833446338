"""Statistics of anyone's membership scores, without a run."""
