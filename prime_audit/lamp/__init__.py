"""The benchmark: tasks, prompts, readers, retrieval and metrics; never imports torch."""
