"""What moves: the clock, the scheduler's loop, the workers that are connected, and who is woken when a log grows."""
