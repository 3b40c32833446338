"""What the engine's shape buys, measured against the released schedule and against what a user would write."""
