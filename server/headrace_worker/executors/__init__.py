"""The ways to run an attempt, one module or package each."""
