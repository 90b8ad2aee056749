"""Headrace, for Python programs."""
