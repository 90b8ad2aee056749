-- The latest snapshot of each session that has one: an artifact of the job of a turn. `contents` is a SnapshotPolicy, `worker` and
-- `binding_epoch` say who took it.
CREATE TABLE session_snapshots (
    session BIGINT PRIMARY KEY,
    job BIGINT NOT NULL,
    job_id BLOB NOT NULL,
    epoch BIGINT NOT NULL,
    name TEXT NOT NULL,
    size BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    turn BIGINT NOT NULL,
    contents BIGINT NOT NULL,
    worker TEXT NOT NULL,
    binding_epoch BIGINT NOT NULL,
    taken BIGINT NOT NULL
);
CREATE INDEX session_snapshots_job ON session_snapshots (job);
