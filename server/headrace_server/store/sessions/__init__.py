"""Conversations of several turns, each of them a job (X1, X4)."""
