"""What requests leave out, and the job that a submitted spec asks for; the store makes it, since schedules ask, too."""

from headrace_server.store.jobs.new_job import DEFAULT_NAMESPACE, new_job

__all__ = ("DEFAULT_NAMESPACE", "namespace_of", "new_job")


def namespace_of(text: str) -> str:
    """The namespace of a request; empty means `default`."""
    return text or DEFAULT_NAMESPACE
