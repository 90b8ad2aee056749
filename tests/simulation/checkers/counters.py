"""S5, I8, Q1: what is counted with every transition is what counting finds, and no key begins after its first job."""

from collections import Counter, defaultdict

from headrace_server.core.states import ENDED, LEASED, JobState
from headrace_server.store.engine import Connection
from simulation.chronicle import Chronicle, Fresh
from simulation.violation import hold

_NOTHING = (0, 0, 0, 0, 0)


class CounterChecker:
    """Counts anew, and compares."""

    def check_commit(self, chronicle: Chronicle, fresh: Fresh, connection: Connection) -> None:
        """After a commit."""
        if fresh.changed:
            _check_states(chronicle, connection)
            _check_keys(chronicle, connection)


def _check_states(chronicle: Chronicle, connection: Connection) -> None:
    jobs = (known.row for known in chronicle.jobs.values())
    states = Counter((job.namespace, job.queue, int(job.state)) for job in jobs)
    counted = connection.rows("SELECT namespace, queue, state, jobs FROM state_counts WHERE jobs <> 0")
    hold({row[:3]: row[3] for row in counted} == states, "S5", f"states counted as {counted}, are {states}")


def _check_keys(chronicle: Chronicle, connection: Connection) -> None:
    keys: defaultdict[int, list[int]] = defaultdict(lambda: [0] * 5)
    heads: dict[int, tuple[int, int]] = {}
    for known in chronicle.jobs.values():
        job = known.row
        if job.state in ENDED:
            continue
        counts = keys[job.key]
        counts[0] += 1
        if job.state is JobState.QUEUED and not job.holder:
            counts[1] += 1
            heads[job.key] = min(heads.get(job.key, (job.rank, job.row)), (job.rank, job.row))
        elif job.state in LEASED:
            counts[2] += 1
            counts[3] += job.slots
            counts[4] += job.slots * (job.assigned // 1000)
    groups: Counter[int] = Counter()
    for key, group, head, head_job, *stored in connection.rows(
        "SELECT key, ready_group, head, head_job, live, ready, leased, leased_slots, leased_since FROM ready_keys"
    ):
        counted = keys.pop(key, _NOTHING)
        hold(stored == list(counted), "I8", f"key {key} counted as {stored}, is {list(counted)}")
        low = key not in heads or (head, head_job) <= heads[key]
        hold(low, "Q1", f"key {key} begins at {(head, head_job)}, its first job is at {heads.get(key)}")
        groups[group] += stored[1]
    hold(not keys, "I8", f"jobs of keys {list(keys)} that are not there")
    found: dict[int, int] = dict(connection.rows("SELECT ready_group, ready FROM ready_groups WHERE ready <> 0"))
    hold(found == +groups, "I8", f"ready groups counted as {found}, are {dict(+groups)}")
