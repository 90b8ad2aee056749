"""Schedules, and what becomes of their ticks."""
