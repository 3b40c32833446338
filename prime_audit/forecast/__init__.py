"""What a run will take: stages, time, memory."""
