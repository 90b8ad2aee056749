"""Every limit of the executors, units last in the name. Limits that the control plane shares live in its own file."""

CHUNK_BYTES_MAX = 256 * 1024
"""One piece of output, and one read from a pipe."""
STDERR_TAIL_BYTES_MAX = 8 * 1024
"""Standard error kept for the detail of a failure."""
FAILURE_DETAIL_BYTES_MAX = 16 * 1024
FAILURE_MESSAGE_CHARACTERS_MAX = 500
ARTIFACT_BYTES_MAX = 64 * 1024 * 1024
"""What the control plane keeps of a job's artifacts; a longer file is not read further."""
RESULT_BYTES_MAX = 1024 * 1024
RESULT_TEXT_BYTES_MAX = 512 * 1024
RESULT_HEADROOM_BYTES = 16 * 1024
"""Kept free in a result for what stands beside its text and its structured output."""

DRAIN_SECONDS = 2.0
"""From a program's exit until what it left running is ended."""
TERMINATE_SECONDS = 5.0
"""From SIGTERM to SIGKILL."""
ORPHAN_GRACE_SECONDS = 3.0
"""From SIGTERM to SIGKILL when the worker is gone or its lease ended."""
GIT_SECONDS = 120.0
"""One run of git for a worktree."""
ERRAND_OUTPUT_BYTES_MAX = 1024 * 1024
"""Of what a short program prints for the worker; what comes after it is dropped."""
SPAWN_SECONDS = 30.0
"""From starting a keeper to its word that the program runs."""
STDIN_WRITE_SECONDS = 60.0
"""A program that takes nothing from its standard input for this long is not given more."""
STDIN_LANE_BYTES_MAX = 64 * 1024 * 1024
"""What waits in memory to be said to a CLI; one that asks for more and takes no answers is ended. A single line may be
longer."""
ASKED_COUNT_MAX = 256
"""Requests of a CLI in one turn that have no answer yet; what it asks beyond them is denied at once."""
ASKED_BYTES_MAX = 64 * 1024 * 1024
"""All of them together. A single one may be longer."""

FRAME_LINE_BYTES_MAX = 64 * 1024 * 1024
"""One line of the CLI; what is longer is cut."""
FRAME_INLINE_BYTES_MAX = 1024 * 1024
"""A frame up to this travels inside its event; a larger one as chunks before it."""
PARSED_BYTES_MAX = 4 * 1024 * 1024
"""Of a longer line only the beginning of each text is kept besides the line itself."""
PARSED_TEXT_CHARACTERS_MAX = 2 * 1024 * 1024
FRAME_TEXT_BYTES_MAX = 64 * 1024
"""One text in the typed part of a frame."""
FRAME_TYPED_BYTES_MAX = 512 * 1024
"""All texts in the typed part of a frame together."""
FRAME_LIST_COUNT_MAX = 512
LANE_MEMORY_BYTES_MAX = 8 * 1024 * 1024
"""Frames that wait in memory for the outbox; past it they wait on disk."""
LANE_DISK_BYTES_MAX = 2 * 1024 * 1024 * 1024
LANE_SEGMENT_BYTES_MAX = 64 * 1024 * 1024
"""One file of them; it is given back when it was read."""
LANE_SHED_BYTES = 1024 * 1024
"""With more than this waiting, partial-message frames are dropped: the whole message follows anyway."""

ARGUMENT_INLINE_BYTES_MAX = 16 * 1024
"""A longer argument of the CLI goes into a file that only the worker's user can read."""
ARGUMENT_BYTES_MAX = 120 * 1024
"""One argument at most; the system's own limit is 131,071 bytes."""

OWN_TURN_BYTES_MAX = 64 * 1024 * 1024
"""What a CLI says in a turn that it began by itself and waits on disk for the job that delivers it."""
OWN_TURNS_COUNT_MAX = 16
"""Such turns of one session that wait; past it the CLI is ended."""
SETTING_SECONDS = 10.0
"""From a change of a CLI's settings to its answer."""
PRELUDE_COUNT_MAX = 64
"""Frames that a CLI says between two turns, kept for the turn that they announce."""
PRELUDE_BYTES_MAX = 64 * 1024
"""One of them."""
SNAPSHOT_BYTES_MAX = 48 * 1024 * 1024
"""A snapshot of a session; what its workspace has changed needs room among the artifacts of its turn, too."""
SNAPSHOT_UNPACKED_BYTES_MAX = 1024 * 1024 * 1024
SNAPSHOT_ENTRIES_COUNT_MAX = 50_000
SNAPSHOT_NAME_BYTES_MAX = 4096
SNAPSHOT_FETCH_SECONDS = 300.0
"""From asking for a snapshot to its last byte."""
