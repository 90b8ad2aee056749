"""Attempts and the workers that hold them: leases and their ends, output, checkpoints, timeouts, what is wanted."""
