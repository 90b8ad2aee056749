"""A stand-in for the `claude` program: same flags, same frames, no model.

Run it as `python -m headrace_worker.simulator`. It imports the standard library only, so that it starts fast, and
nothing of the worker, so that it can prove the worker wrong. README.md describes its script language.
"""
