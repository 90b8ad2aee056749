"""The namespace of a request."""

from headrace_server.store.jobs.new_job import DEFAULT_NAMESPACE


def namespace_of(text: str) -> str:
    """The namespace that a request names; empty means `default`."""
    return text or DEFAULT_NAMESPACE
