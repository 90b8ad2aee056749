"""Queues: their policy, their stops and limits, fairness among their jobs, and what of them is ready."""
