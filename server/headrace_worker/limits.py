"""Every limit of the agent, units last in the name. Those of the executors live beside them."""

PROTOCOL_VERSION = 1
MESSAGE_BYTES_MAX = 4 * 1024 * 1024
"""One gRPC message, either way."""
CONTROL_MESSAGE_BYTES_MAX = 2 * 1024 * 1024
"""Finishes in one message of the control lane; a single larger one goes alone."""
OUTPUT_MESSAGE_BYTES_MAX = 2 * 1024 * 1024
"""Batches in one message of the data lane; a single larger one goes alone."""
BATCH_BYTES_MAX = 1024 * 1024
OUTPUT_ITEM_BYTES_MAX = 2 * 1024 * 1024

OUTBOX_MEMORY_BYTES_MAX = 1024 * 1024
"""Output of one attempt that waits in memory; past it, it waits on disk."""
YIELD_BYTES = 64 * 1024
"""A producer that never has to wait lets everybody else have a turn after this much."""
YIELD_OVERHEAD_BYTES = 256
"""What an output counts for besides its bytes."""
SPOOL_BYTES_MAX = 64 * 1024 * 1024
CLAUDE_SPOOL_BYTES_MAX = 2 * 1024 * 1024 * 1024
"""Claude Code does not feel a full pipe, so its output has to have a place."""
SPOOL_BLOCK_BYTES = 256 * 1024
"""Output is written to disk and read back in pieces of about this size."""
SPOOL_SEGMENT_BYTES_MAX = 4 * 1024 * 1024

DELTAS_COUNT_MAX = 256
"""Token deltas of one attempt that wait to be sent; past it they are dropped, and a marker says so."""

CONNECT_SECONDS = 5.0
"""From opening a control lane to its welcome."""
RECONNECT_SECONDS_MIN = 0.1
RECONNECT_SECONDS_MAX = 2.0
RENEWAL_SECONDS_MIN = 0.01
UNREACHABLE_NOTICE_SECONDS = 10.0
UNANSWERED_INTERVALS_MAX = 3
"""Renewal intervals without an answer after which the server is taken for gone."""
UNANSWERED_SECONDS_MIN = 1.0
"""However short the interval is: a busy host is no dead server."""
LEASE_MARGIN_SHARE = 0.2
LEASE_MARGIN_SECONDS_MIN = 4.0
"""Kept free at the lease's end: longer than a keeper needs to end its tree. Of a short lease, at most half."""
LEASE_POLL_SECONDS_MAX = 1.0
"""The loop's timers do not count the time that the host sleeps: look at the lease's clock at least this often."""
FIRST_WELCOME_SECONDS = 30.0
"""A worker that serves one control plane only gives up when none has welcomed it for this long."""

CANCEL_GRACE_SECONDS_DEFAULT = 10.0
DRAIN_SECONDS_DEFAULT = 10.0
DELIVER_SECONDS = 10.0
"""From the end of the last attempt until the server has acknowledged all finishes, when the worker ends."""
FAREWELL_SECONDS = 1.0
"""For the server to acknowledge what a worker says that ends at once."""
ABORT_SECONDS = 5.0
"""For executors to end what they run when the worker ends at once."""

INPUTS_OPEN_COUNT_MAX = 100
"""Requests for a person that one attempt has open at once."""
INPUT_JSON_BYTES_MAX = 256 * 1024
"""Of what a person is shown with a request; longer texts in it are cut."""
SETTINGS_WAITING_COUNT_MAX = 100
COMMAND_ERRORS_COUNT_MAX = 100
COMMAND_MESSAGE_CHARACTERS_MAX = 500

SESSIONS_COUNT_DEFAULT = 16
"""Sessions whose process a worker keeps at once."""
SESSIONS_COUNT_MAX = 1000
SESSION_IDLE_SECONDS_DEFAULT = 300.0
"""How long an idle process is kept, when the control plane says nothing."""
KEPT_SESSIONS_COUNT_MAX = 100
"""Sessions that one renewal names because their conversation is kept."""
SESSION_ENDED_KEPT_SECONDS = 600.0
"""From the end of a session until its folders are removed."""
SESSION_KEPT_SECONDS = 90 * 86_400.0
"""The folders of a session of which nothing was heard for this long are removed at the worker's start."""

MEMORY_SAMPLE_SECONDS = 1.0
"""Between two looks at the memory of all trees."""
CLAUDE_MEMORY_SOFT_BYTES = 6 * 1024**3
CLAUDE_MEMORY_HARD_BYTES = 8 * 1024**3

STALL_START_SECONDS = 120.0
STALL_FIRST_TOKEN_SECONDS = 300.0
STALL_STREAMING_SECONDS = 180.0
STALL_TOOL_SECONDS = 1800.0
STALL_AFTER_TOOL_SECONDS = 300.0
STALL_COMPACTING_SECONDS = 600.0
STALL_BACKGROUND_SECONDS = 3600.0
ASK_ORDER_SECONDS = 1.0
"""A question waits for so long that what the CLI said before it comes into the log first."""

SWEEP_SECONDS = 10.0
"""To end a tree whose keeper was killed."""
SWEEP_INTERVAL_SECONDS = 0.05
SWEEP_NOTICE_SECONDS = 10.0
"""How often the log says that what an earlier start left does not end."""

REPORT_INTERVAL_SECONDS = 0.1
"""Between two words of a handler on its progress or its use; of what it says meanwhile the latest counts."""
CHECKPOINT_INTERVAL_SECONDS = 0.5
"""The same for checkpoints, which may be large; it is what an attempt that is lost may have to do again."""
CHECKPOINT_BYTES_MAX = 256 * 1024
SNOOZE_SECONDS_MIN = 0.001
SNOOZE_SECONDS_MAX = 31 * 86_400.0
SNOOZE_REASON_CHARACTERS_MAX = 1024
RETRY_AFTER_SECONDS_MAX = 31 * 86_400.0
LOOP_LOOK_SECONDS = 1.0
"""Between two looks at whether the worker's event loop still turns."""
LOOP_BLOCKED_SECONDS = 3.0
"""An event loop that has not turned for this long is blocked, and the log says by what."""
LOOP_BLOCKED_NOTICE_SECONDS = 30.0
"""How often it is said again."""
HANDLER_NAME_CHARACTERS_MAX = 128
WORKER_ID_CHARACTERS_MAX = 128
SLOTS_COUNT_MAX = 10_000
CACHE_ANSWER_BYTES_MAX = 4 * 1024 * 1024
"""A longer answer is not kept."""
CACHE_BYTES_MAX = 256 * 1024 * 1024
"""All kept answers together."""
CACHE_ENTRIES_COUNT_MAX = 10_000
CACHE_SWEEP_SECONDS = 60.0
"""How often answers are removed that are too old for everybody."""
CACHE_INVALIDATIONS_COUNT_MAX = 1000
"""Namespaces of which a worker remembers since when answers count."""
THREADS_COUNT_MAX = 1024
"""Threads for handlers that are not async functions."""
INTEGER_EXACT_MAX = 2**53
"""JSON numbers travel as doubles: a larger integer would come back changed."""
RESULT_DEPTH_MAX = 24
"""Protobuf reads 100 messages inside each other; a JSON object is three, and what carries a result adds some."""
PROGRESS_MESSAGE_CHARACTERS_MAX = 1024
