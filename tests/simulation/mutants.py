"""Broken variants of the system, each with one promise taken out: what a simulation is worth is how fast it tells them.

They are put in place for a run and taken out again; nothing of the system knows of them.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from simulation.broken import asking, capacity, changes, feed, folders, parts, queueing, schedules, sessions, words


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
        words.answered_twice,
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
        words.late_hello_believed,
        parts.restart_ends_leases,
        parts.reader_skips,
        parts.promotion_forgotten,
        parts.worker_ignores_its_clock,
        parts.worker_starts_after_its_lease,
        queueing.key_limit_ignored,
        queueing.queue_limit_ignored,
        queueing.freed_key_stays_parked,
        queueing.slot_never_given_back,
        queueing.bucket_never_empties,
        queueing.token_refunded_twice,
        queueing.lost_grant_refunded,
        queueing.paused_queue_grants,
        queueing.drained_queue_grants,
        queueing.pause_never_ends,
        queueing.return_never_told,
        queueing.return_burns_an_attempt,
        queueing.head_above_the_first,
        queueing.newest_first,
        queueing.share_wakes_at_zero,
        queueing.slots_of_a_job_ignored,
        changes.any_succeeded_taken_as_all_ended,
        changes.cancelled_parent_succeeded,
        changes.skipped_childs_children_forgotten,
        changes.one_ended_parent_noted,
        changes.children_told_once,
        changes.key_freed_at_grant,
        changes.replaced_goes_on,
        changes.granted_one_replaced,
        changes.waiting_with_key_forgotten,
        changes.run_timeout_of_all_attempts,
        changes.total_timeout_retried,
        changes.silence_since_the_start,
        changes.expired_after_start,
        changes.queue_timeout_ignored,
        changes.one_snooze_too_many,
        changes.snooze_counted_as_failure,
        changes.updated_after_start,
        changes.two_live_retries,
        changes.live_job_deleted,
        changes.live_job_swept,
        changes.request_of_deleted_forgotten,
        changes.first_checkpoint_kept,
        changes.results_of_parents_left_out,
        feed.feed_hole_not_told,
        feed.feed_event_repeated,
        feed.feed_sleeps_on,
        feed.feed_removed_remembered,
        feed.feed_labels_remembered,
        feed.feed_restore_not_told,
        feed.feed_of_all_owners,
        feed.feed_position_forgotten,
        feed.dropped_output_not_told,
        feed.live_output_dropped,
        feed.old_output_kept,
        schedules.tick_fires_twice,
        schedules.job_made_after_its_tick,
        schedules.fires_before_its_creation,
        schedules.edit_invents_ticks,
        schedules.none_makes_up,
        schedules.last_makes_up_for_all,
        schedules.skip_runs_both,
        schedules.buffer_runs_both,
        schedules.other_not_cancelled,
        schedules.buffered_tick_forgotten,
        schedules.tick_never_looked_at,
        asking.second_request_lost,
        asking.kept_room_stays_kept,
        folders.folder_ignored,
        folders.folder_taken_twice_at_once,
        folders.freed_folder_stays_parked,
        capacity.closed_domain_grants,
        capacity.probes_not_counted,
        capacity.reservations_not_counted,
        capacity.paid_twice,
        capacity.lost_attempt_not_paid,
        capacity.reservation_outlives_its_lease,
        capacity.cap_left_out,
        sessions.turns_not_in_line,
        sessions.binding_epoch_kept,
        sessions.holder_ignored,
        sessions.said_again,
        sessions.turn_counted_twice,
        sessions.close_leaves_turns,
        sessions.lost_session_keeps_turns,
        sessions.interrupt_closes,
        sessions.lost_at_once,
        sessions.next_turn_not_told,
        sessions.closed_session_takes_turns,
        sessions.old_process_kept,
        sessions.own_turn_begun_twice,
        sessions.fork_goes_anywhere,
        sessions.fork_of_nothing,
    )
}
"""By name."""
