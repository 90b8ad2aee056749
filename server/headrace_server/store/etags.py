"""The refusal of a change to something that somebody else has changed meanwhile."""

from headrace_server.core.refusal import Reason, Refusal


def stale_etag(kind: str, name: str, present: int, given: str) -> Refusal | None:
    """Why a change that expects an etag can't go on; one that expects none can. `kind` is a message of the contract."""
    if not given or given == str(present):
        return None
    message = f"{kind.lower()} {name} has etag {present}, not {given}: it has changed; read it again"
    return Refusal(Reason.STALE_ETAG, message, f"headrace.v1.{kind}", name)
