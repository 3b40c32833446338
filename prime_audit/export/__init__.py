"""A run's model as a PEFT adapter with its model card."""
