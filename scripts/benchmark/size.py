"""How much of everything a run does: quick, default or full. Numbers only."""

from dataclasses import dataclass, replace

from benchmark.figures import MIB


@dataclass(frozen=True, slots=True)
class Size:
    """The bounds of a run; every row ends by count or by time."""

    name: str
    turns_count: int
    """How often ours and the floor are measured in turns."""
    turn_seconds: float
    bulk_calls_count: int
    """SubmitJobs calls a turn, of 500 jobs each."""
    handler_jobs_count: int
    paced_calls_count: int
    output_events_count: int
    output_bytes: int
    """Of the same in large chunks."""
    stalled_bytes: int
    idle_followers_count: int
    fan_out_events_count: int
    """Of the job that is followed by 1 and 10; a tenth of it for 100, a hundredth for 1,000."""
    fan_out_counts: tuple[int, ...]
    """Followers of one job, one figure each."""
    crowd_idle_count: int
    crowd_busy_count: int
    """Followers of the busy job beside them, and of the one whose deliveries are timed."""
    delivery_lines_count: int
    storage_jobs_count: int
    """Jobs whose events are weighed, and lines of output; chunks are fewer."""
    deep_jobs_count: int
    deep_sample_count: int
    restart_queued_count: int
    saturated_jobs_count: int
    fair_jobs_count: int
    """Of each owner."""
    sessions_count: int
    session_words_count: int
    """Of each session, one every 20 ms."""


DEFAULT = Size(
    name="default",
    turns_count=5,
    turn_seconds=2.0,
    bulk_calls_count=40,
    handler_jobs_count=30_000,
    paced_calls_count=400,
    output_events_count=40_000,
    output_bytes=64 * MIB,
    stalled_bytes=128 * MIB,
    idle_followers_count=1_000,
    fan_out_events_count=20_000,
    fan_out_counts=(1, 10, 100),
    crowd_idle_count=1_000,
    crowd_busy_count=100,
    delivery_lines_count=100,
    storage_jobs_count=10_000,
    deep_jobs_count=100_000,
    deep_sample_count=24_000,
    restart_queued_count=10_000,
    saturated_jobs_count=100_000,
    fair_jobs_count=800,
    sessions_count=8,
    session_words_count=250,
)
FULL = replace(
    DEFAULT,
    name="full",
    turns_count=7,
    turn_seconds=3.0,
    handler_jobs_count=60_000,
    paced_calls_count=1_000,
    output_events_count=200_000,
    fan_out_counts=(1, 10, 100, 1_000),
    crowd_idle_count=5_000,
    crowd_busy_count=1_000,
    output_bytes=256 * MIB,
    stalled_bytes=1024 * MIB,
    deep_jobs_count=1_000_000,
    sessions_count=32,
)
QUICK = Size(
    name="quick",
    turns_count=1,
    turn_seconds=0.3,
    bulk_calls_count=4,
    handler_jobs_count=1_500,
    paced_calls_count=40,
    output_events_count=2_000,
    output_bytes=4 * MIB,
    stalled_bytes=8 * MIB,
    idle_followers_count=50,
    fan_out_events_count=1_000,
    fan_out_counts=(1, 10, 100),
    crowd_idle_count=50,
    crowd_busy_count=20,
    delivery_lines_count=10,
    storage_jobs_count=500,
    deep_jobs_count=3_000,
    deep_sample_count=1_500,
    restart_queued_count=500,
    saturated_jobs_count=2_000,
    fair_jobs_count=100,
    sessions_count=2,
    session_words_count=20,
)
