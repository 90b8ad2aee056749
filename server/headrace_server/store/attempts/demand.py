"""What waits for a worker, and what it holds: as slots, memory and processors (Q5, Q9). Reads of bounded size."""

from collections.abc import Callable, Iterable

from headrace_server.core.placement import Needs
from headrace_server.core.resources import Resources, total
from headrace_server.store.engine import Connection
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.folders import NOT_TAKEN

_NEEDS = (
    "SELECT ready_groups.needs FROM ready_keys JOIN ready_groups ON ready_groups.ready_group = ready_keys.ready_group"
    " WHERE ready_keys.key = ?"
)


def key_resources(ledger: Ledger, keys: Iterable[int]) -> dict[int, Resources]:
    """What a job of each of these ready keys takes of a worker."""
    return {key: Needs.decode(ledger.look_up(_NEEDS, (key,))[0][0]).resources for key in set(keys)}


def resources_used(connection: Connection, worker: str) -> Resources:
    """What the attempts take on which a worker holds a lease."""
    found = connection.rows(
        "SELECT ready_groups.needs, count(*) FROM jobs JOIN ready_keys ON ready_keys.key = jobs.key"
        " JOIN ready_groups ON ready_groups.ready_group = ready_keys.ready_group"
        " WHERE jobs.worker = ? AND jobs.state IN (4, 5, 6, 7) GROUP BY ready_groups.needs",
        (worker,),
    )
    return total(Needs.decode(needs).resources * int(count) for needs, count in found)


def queued_slots(connection: Connection, worker: str, fits: Callable[[Needs], bool], slots_max: int) -> int:
    """Slots for which jobs wait that could run on a worker now: their needs fit, and neither a limit nor a stopped
    queue holds them. Past `slots_max` it may stop counting.

    `fits` says whether needs do.
    """
    slots = _waiting_for(connection, worker, slots_max)
    for group, text in connection.rows(
        "SELECT ready_group, needs FROM ready_groups WHERE ready > 0 AND NOT EXISTS ("
        "SELECT 1 FROM queue_stops WHERE queue_stops.namespace = ready_groups.namespace"
        " AND queue_stops.queue = ready_groups.queue)"
    ):
        if slots >= slots_max:
            break
        needs = Needs.decode(text)
        if fits(needs):
            slots += needs.resources.slots * _ready_jobs(connection, group, slots_max - slots)
    return slots


def _waiting_for(connection: Connection, worker: str, count_max: int) -> int:
    """Slots of the jobs that wait for this worker alone, because it holds their session."""
    return sum(
        int(row[0])
        for row in connection.rows(
            "SELECT jobs.slots FROM jobs JOIN ready_keys ON ready_keys.key = jobs.key"
            f" WHERE jobs.holder = ? AND jobs.holder <> '' AND jobs.state = 3"
            f" AND (ready_keys.folder = '' OR {NOT_TAKEN}) LIMIT ?",
            (worker, count_max),
        )
    )


def _ready_jobs(connection: Connection, group: int, keys_max: int) -> int:
    return sum(
        int(row[0])
        for row in connection.rows(
            # Of a folder one job runs at a time.
            "SELECT CASE WHEN folder = '' THEN ready ELSE 1 END FROM ready_keys"
            " WHERE ready_group = ? AND ready > 0 AND parked = 0 ORDER BY head LIMIT ?",
            (group, keys_max),
        )
    )
