"""Every limit of the control plane, units last in the name."""

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
"""One gRPC message, either way."""

REQUEST_ID_CHARACTERS_MAX = 128
NAMESPACE_CHARACTERS_MAX = 63
OWNER_CHARACTERS_MAX = 256
DISPLAY_NAME_CHARACTERS_MAX = 256
LABELS_COUNT_MAX = 32
LABEL_VALUE_CHARACTERS_MAX = 256
KEY_CHARACTERS_MAX = 256
REASON_CHARACTERS_MAX = 1024
AUDIT_DETAIL_CHARACTERS_MAX = 2048
FILTER_CHARACTERS_MAX = 2048
PRIORITY_MAX = 100
SUBMIT_ITEMS_COUNT_MAX = 1000
CANCEL_ITEMS_COUNT_MAX = 1000

PROMPT_BYTES_MAX = 1024 * 1024
SYSTEM_PROMPT_BYTES_MAX = 128 * 1024
TOOLS_COUNT_MAX = 256
ARGUMENTS_COUNT_MAX = 1000
ARGUMENTS_BYTES_MAX = 128 * 1024
ENVIRONMENT_COUNT_MAX = 256
STDIN_BYTES_MAX = 1024 * 1024
HANDLER_NAME_CHARACTERS_MAX = 128
HANDLER_INPUT_BYTES_MAX = 1024 * 1024
SPEC_BYTES_MAX = 2 * 1024 * 1024
RESULT_BYTES_MAX = 1024 * 1024
FAILURE_DETAIL_BYTES_MAX = 16 * 1024
FAILURE_TEXT_BYTES_MAX = 2 * 1024
"""Message and sign of a failure, each."""
REPORT_BYTES_MAX = 1024 * 1024
HELLO_BYTES_MAX = 256 * 1024
NESTED_LEVELS_MAX = 80
"""Messages inside each other in a Struct or Value, two or three for each level of JSON. Protobuf reads 100, and
whatever carries it adds some."""
USAGE_COUNT_MAX = 2**31 - 1
"""Turns and tool calls; more is cut."""
USAGE_AMOUNT_MAX = 2**53
"""Tokens, cost and time of a usage; more is cut."""

MAX_ATTEMPTS_MAX = 100
MAX_ATTEMPTS_DEFAULT = 3
INITIAL_BACKOFF_SECONDS_DEFAULT = 1.0
MAX_BACKOFF_SECONDS_DEFAULT = 300.0
BACKOFF_MULTIPLIER_DEFAULT = 2.0
MAX_SNOOZES_DEFAULT = 100
MAX_SNOOZES_MAX = 10_000
SNOOZE_SECONDS_MIN = 0.001
SNOOZE_SECONDS_MAX = 31 * 86400.0
"""A longer delay is cut, a shorter one made this long."""
CHECKPOINT_BYTES_MAX = 256 * 1024
CACHE_TTL_SECONDS_MIN = 1
CACHE_TTL_SECONDS_MAX = 30 * 86400
SETTINGS_QUEUES_COUNT_MAX = 1000
"""Queues that have settings of their own, in a namespace."""
ARTIFACT_BYTES_MAX = 64 * 1024 * 1024
"""Of all artifacts of a job together."""
ARTIFACT_PART_BYTES_MAX = 256 * 1024
ARTIFACT_NAME_CHARACTERS_MAX = 128
SNAPSHOT_NOTE_BYTES_MAX = 4096
"""What a worker says of a snapshot of a session."""
DEPENDENCY_RESULTS_BYTES_MAX = 1024 * 1024
"""In one assignment; what does not fit is left out, and said to be."""
HOLDER_GRACE_SECONDS = 600.0
"""How long a dirty attempt's job waits for the worker that can resume it (R6)."""
LOSSES_COUNT_MAX = 3
"""Infrastructure losses (L6): one more, and the job ends as POISON."""

QUEUE_MAX_QUEUED_DEFAULT = 10_000
QUEUE_MAX_QUEUED_MAX = 10_000_000
PRIORITY_HEAD_START_SECONDS_DEFAULT = 60.0
QUEUE_POSITION_MAX = 10_000
STATISTICS_SECONDS_DEFAULT = 300
STATISTICS_SECONDS_MIN = 60
STATISTICS_SECONDS_MAX = 86_400
HEALTH_SECONDS_DEFAULT = 5
HEALTH_SECONDS_MIN = 1
HEALTH_SECONDS_MAX = 60

OUTPUT_BYTES_MAX_DEFAULT = 64 * 1024 * 1024
OUTPUT_BYTES_MAX_MAX = 64 * 1024 * 1024 * 1024
"""The most that a job may ask for: output lies in the database, whose disk all jobs share."""
OUTPUT_ITEM_BYTES_MAX = 2 * 1024 * 1024
"""One Output: a frame of 1 MiB with its typed part."""

PAGE_SIZE_DEFAULT = 50
PAGE_SIZE_MAX = 500

EVENT_PAGE_BYTES = 256 * 1024
"""One page of a follow stream; a single larger event is a page of its own."""
EVENT_PAGE_COUNT = 512
TAIL_COUNT_MAX = 100_000
"""Events that a follower may ask for from the end of a log."""
HEARTBEAT_SECONDS = 15.0
HEARTBEAT_SECONDS_MAX = 20.0
"""A client takes a stream for dead after 45 s of silence."""

LEASE_SECONDS_DEFAULT = 30.0
RENEWAL_SECONDS_DEFAULT = 5.0
ASSIGNMENT_CONFIRM_SECONDS = 10.0
CANCEL_GRACE_SECONDS_DEFAULT = 10.0
INPUT_TIMEOUT_SECONDS_DEFAULT = 600.0
INPUTS_OPEN_COUNT_MAX = 100
"""Of one attempt at once."""
INPUT_JSON_BYTES_MAX = 256 * 1024
"""What is asked of a person; more is cut. What is answered may be larger: the tool's input was."""
INPUT_MESSAGE_BYTES_MAX = 16 * 1024
UPDATED_INPUT_BYTES_MAX = 1024 * 1024

SESSIONS_PER_NAMESPACE_COUNT_DEFAULT = 10_000
"""Open ones."""
SESSIONS_PER_OWNER_COUNT_DEFAULT = 1_000
"""Open ones of an owner in a namespace."""
SESSIONS_OPEN_COUNT_MAX = 100_000
"""The most that settings may allow of either: each new session counts them."""
SESSION_PENDING_TURNS_COUNT_DEFAULT = 100
"""Turns of a session that have not ended, without those that the CLI began by itself."""
SESSION_PENDING_TURNS_COUNT_MAX = 1_000
"""The most that settings may allow: the end of a session cancels all of them in one transaction."""
SESSION_IDLE_SECONDS_DEFAULT = 300.0

DISK_RESERVE_BYTES = 256 * 1024 * 1024
"""Of the disk, kept for what runs already: with less free, submits are refused."""
COMMIT_QUEUE_COUNT_MAX = 10_000
"""Writes that wait for the writer thread; past it submits get STORE_BUSY."""
COMMIT_BATCH_COUNT_MAX = 512
LANE_MESSAGE_BYTES_MAX = 3 * 1024 * 1024
WORDS_IN_FLIGHT_COUNT_MAX = 64
"""Messages of one worker's control lane that wait for their commit."""
OUTPUT_CREDIT_BYTES = 4 * 1024 * 1024
GRANTS_COUNT_MAX = 128
"""Jobs that one scheduler cycle grants. The next cycle follows at once, while workers act on this one: with all free
slots in one cycle, server and worker would wait for each other in turn."""

CREDIT_EVENTS_COUNT_MAX = 1_000_000
"""That a conversation is granted at once."""
LAST_TURNS_COUNT_MAX = 10_000
CONVERSE_ANSWERS_COUNT_MAX = 64
"""Of one conversation, that wait to be sent: no more of its requests are read meanwhile."""

UNARY_CALLS_COUNT_MAX = 4096
STREAMS_COUNT_MAX = 10_000
PRINCIPAL_STREAMS_COUNT_MAX = 8_000
"""Of them, what one principal may have open: others always find room."""

WORKER_ID_CHARACTERS_MAX = 128
DELTA_BYTES_MAX = 8 * 1024
"""A longer delta is dropped, with a marker."""
DELTA_RUN_BYTES_MAX = 16 * 1024
"""Pieces of a block are put together up to so much; the oldest of an attempt are dropped by so much."""
DELTA_ATTEMPT_BYTES_MAX = 256 * 1024
"""What one attempt is saying just now, kept for followers that come late or are behind."""
DELTA_RINGS_BYTES_MAX = 32 * 1024 * 1024
"""The same of all attempts: past it, those that have been silent longest lose theirs, with a marker."""
DELTA_MESSAGE_BYTES = 16 * 1024
"""Deltas in one message of a follow stream, so that events which come meanwhile wait for no more than that."""
DRAIN_SECONDS = 10.0
