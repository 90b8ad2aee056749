"""The state diagram in ARCHITECTURE.md is the transition table, drawn: nobody keeps two of them equal by hand."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from headrace_server.core import facts, lifecycle
from headrace_server.core.facts import Fact
from headrace_server.core.failures import FailureClass, TimeoutKind
from headrace_server.core.ids import JobId, Micros
from headrace_server.core.job import NO_USAGE, Cancellation, Failure, Job, OpenInput
from headrace_server.core.retry import Decision, RetryAction
from headrace_server.core.states import ENDED, LEASED, WAITING, JobState

ARCHITECTURE = Path(__file__).parents[2] / "ARCHITECTURE.md"

FAILURE = Failure(FailureClass.CRASH, b"")
CANCELLATION = Cancellation("", "", Micros(1))
AGAIN, NO_MORE = Decision(RetryAction.RETRY, ""), Decision(RetryAction.FAIL, "")

SAMPLES: dict[type[Any], Sequence[Fact]] = {
    facts.Scheduled: [facts.Scheduled(Micros(2))],
    facts.Updated: [
        facts.Updated(state, Micros(0), Micros(0), Micros(0), 0, None, b"")
        for state in (JobState.QUEUED, JobState.SCHEDULED)
    ],
    facts.Queued: [facts.Queued(facts.QueuedCause.DUE)],
    facts.Assigned: [facts.Assigned("w", "i", "")],
    facts.Started: [facts.Started("w")],
    facts.TimedOut: [facts.TimedOut(TimeoutKind.RUN, "")],
    facts.BudgetReached: [facts.BudgetReached(b"")],
    facts.Snoozed: [facts.Snoozed("", Micros(2), NO_USAGE)],
    facts.Released: [facts.Released(facts.ReleaseCause.DECLINED, "")],
    facts.AttemptFailed: [facts.AttemptFailed(FAILURE, NO_USAGE, decision, Micros(0)) for decision in (AGAIN, NO_MORE)],
    facts.AttemptLost: [facts.AttemptLost("w", "", decision) for decision in (AGAIN, NO_MORE)],
    facts.HandedBack: [facts.HandedBack("w", NO_USAGE, decision) for decision in (AGAIN, NO_MORE)],
    facts.InputRequested: [facts.InputRequested("r", b"")],
    facts.InputResolved: [facts.InputResolved("r", b"")],
    facts.CancelRequested: [facts.CancelRequested(CANCELLATION)],
    facts.CancelStepped: [facts.CancelStepped(b"")],
    facts.Produced: [facts.Produced(1, 0, b"")],
    facts.Truncated: [facts.Truncated(0)],
    facts.Succeeded: [facts.Succeeded(b"", NO_USAGE)],
    facts.Failed: [facts.Failed(FAILURE)],
    facts.Cancelled: [facts.Cancelled(CANCELLATION, NO_USAGE)],
    facts.Expired: [facts.Expired(FAILURE)],
    facts.Skipped: [facts.Skipped(FAILURE, JobId(bytes(16)))],
}
"""Of each kind of fact, one for every way in which it may go on."""


def job_in(state: JobState) -> Job:
    holder = ("w", "i") if state in LEASED else ("", "")
    return Job(
        row=1,
        id=JobId(bytes(16)),
        namespace="default",
        queue="default",
        owner="",
        key=1,
        rank=0,
        priority=0,
        created=Micros(0),
        output_bytes_max=0,
        state=state,
        sequence=1,
        worker=holder[0],
        incarnation=holder[1],
        open_inputs=(OpenInput("r"),) if state is JobState.WAITING_INPUT else (),
    )


def transitions() -> Iterator[tuple[JobState, JobState, str]]:
    """From, to and the fact, of every fact that the table allows and that changes the state."""
    for kind, allowed in lifecycle.ALLOWED.items():
        for state in allowed:
            for fact in SAMPLES[kind]:
                job = job_in(state)
                lifecycle.apply(job, fact, Micros(1))
                if job.state is not state:
                    yield state, job.state, kind.__name__


def diagram() -> str:
    """The table as a mermaid diagram; facts that leave the state as it is are not drawn."""
    edges: dict[tuple[JobState, JobState], list[str]] = {}
    for before, after, fact in transitions():
        names = edges.setdefault((before, after), [])
        if fact not in names:
            names.append(fact)
    lines = ["stateDiagram-v2", *(f"    [*] --> {state.name}: Submitted" for state in sorted(WAITING))]
    lines += [
        f"    {before.name} --> {after.name}: {', '.join(names)}" for (before, after), names in sorted(edges.items())
    ]
    reached = {after for _, after in edges}
    lines += [f"    {state.name} --> [*]" for state in sorted(ENDED & reached)]
    return "\n".join(lines)


def test_every_fact_of_the_table_is_drawn() -> None:
    assert set(SAMPLES) == set(lifecycle.ALLOWED)


def test_the_diagram_in_the_document_is_the_table() -> None:
    _, _, after = ARCHITECTURE.read_text(encoding="utf-8").partition("```mermaid\n")
    drawn, _, _ = after.partition("\n```")
    assert drawn == diagram(), f"put this into ARCHITECTURE.md:\n{diagram()}"
