"""Decisions about jobs, as pure functions: no clock, no chance, no I/O, nothing but the standard library."""
