"""Sessions: their turns in order, whatever becomes of each (X1)."""

from headrace_server.core.states import JobState
from store.conversing import CONVERSATION, converse
from store.driving import Bench


def test_x1_a_turn_waits_for_the_one_before(bench: Bench) -> None:
    session = converse(bench)
    first, second = session.say("one"), session.say("two")
    assert (first.state, second.state) == (JobState.QUEUED, JobState.BLOCKED)
    lease = session.start(first.id)
    assert bench.job(second.id).state is JobState.BLOCKED
    bench.finish(lease, outputs=1)
    following = bench.job(second.id)
    assert (following.state, following.holder) == (JobState.QUEUED, "w1")
    bench.finish(session.start(second.id), outputs=1)
    row = session.row
    assert (row.turns, row.ended_turns, row.claude_session, row.binding_epoch) == (2, 2, CONVERSATION, 1)
