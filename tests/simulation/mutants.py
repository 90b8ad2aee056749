"""Broken variants of the system, each with one promise taken out: what a simulation is worth is how fast it tells them.

They are put in place for a run and taken out again; nothing of the system knows of them.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from simulation.broken import parts, words


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The mutant is in place."""
    with ExitStack() as stack:
        for target, attribute, value in MUTANTS[name]():
            if isinstance(target, dict):
                stack.enter_context(patch.dict(target, {attribute: value}))
            else:
                stack.enter_context(patch.object(target, attribute, value))
        yield


MUTANTS: dict[str, Callable[[], words.Patches]] = {
    mutant.__name__: mutant
    for mutant in (
        words.no_epoch_check,
        words.no_holder_check,
        words.generation_ignored,
        words.finish_without_output,
        words.own_end_fails_the_job,
        words.cancel_lost,
        parts.unconfirmed_requeued,
        parts.wall_clock_lease,
        parts.impatient_lease,
        parts.position_gap,
        parts.sequence_gap,
        words.output_not_deduplicated,
        words.one_attempt_too_many,
        words.cancelled_retried,
        words.loss_counted_as_failure,
        parts.request_id_forgotten,
        parts.event_without_fold,
        parts.granted_twice,
        words.ended_twice,
        words.cancelled_starts,
        parts.queue_bound_of_each_submit,
        parts.answered_before_commit,
        parts.rolled_back_remembered,
        parts.absent_forgotten,
        words.returning_worker_keeps_all,
        parts.restart_ends_leases,
        parts.reader_skips,
        parts.promotion_forgotten,
        parts.worker_ignores_its_clock,
        parts.worker_starts_after_its_lease,
    )
}
"""By name."""
