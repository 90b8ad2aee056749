-- Tables with a text key have no rowid: with one, each would be two trees, and every commit would write two pages.

-- Numbers that only grow: the next row of a job, the next position of the feed, the generation of the store.
CREATE TABLE sequences (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
) WITHOUT ROWID;
INSERT INTO sequences (name, value) VALUES ('job', 0), ('position', 0), ('key', 0), ('generation', 1);

CREATE TABLE queues (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    body BLOB NOT NULL,
    version BIGINT NOT NULL,
    created BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    PRIMARY KEY (namespace, name)
) WITHOUT ROWID;

-- Jobs of one queue with the same needs; the scheduler looks at keys, never at all jobs.
CREATE TABLE ready_keys (
    key INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    queue TEXT NOT NULL,
    needs TEXT NOT NULL,
    ready BIGINT NOT NULL,
    UNIQUE (namespace, queue, needs)
);
CREATE INDEX ready_keys_ready ON ready_keys (key) WHERE ready > 0;

CREATE TABLE jobs (
    job INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    namespace TEXT NOT NULL,
    queue TEXT NOT NULL,
    owner TEXT NOT NULL,
    key BIGINT NOT NULL,
    rank BIGINT NOT NULL,
    priority BIGINT NOT NULL,
    created BIGINT NOT NULL,
    output_bytes_max BIGINT NOT NULL,
    state BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    started BIGINT NOT NULL,
    ended BIGINT NOT NULL,
    due BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    losses BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    worker TEXT NOT NULL,
    incarnation TEXT NOT NULL,
    holder TEXT NOT NULL,
    settled_epoch BIGINT NOT NULL,
    producer_sequence BIGINT NOT NULL,
    report_number BIGINT NOT NULL,
    output_bytes BIGINT NOT NULL,
    flags BIGINT NOT NULL,
    session TEXT NOT NULL,
    details TEXT NOT NULL,
    failure BLOB
);
CREATE INDEX jobs_ready ON jobs (key, rank, job) WHERE state = 3 AND holder = '';
CREATE INDEX jobs_held ON jobs (holder, rank, job) WHERE state = 3 AND holder <> '';
CREATE INDEX jobs_due ON jobs (due) WHERE state = 1;
CREATE INDEX jobs_leased ON jobs (worker) WHERE state IN (4, 5, 6, 7);

CREATE TABLE job_specs (
    job INTEGER PRIMARY KEY,
    spec BLOB NOT NULL,
    traceparent TEXT NOT NULL
);

CREATE TABLE job_labels (
    namespace TEXT NOT NULL,
    label TEXT NOT NULL,
    value TEXT NOT NULL,
    job BIGINT NOT NULL,
    PRIMARY KEY (namespace, label, value, job)
) WITHOUT ROWID;

CREATE TABLE requests (
    namespace TEXT NOT NULL,
    request_id TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    id BLOB NOT NULL,
    PRIMARY KEY (namespace, request_id)
) WITHOUT ROWID;

-- The log. Everything but output has a position in the feed; output has a table of its own, so that a flood of it never touches the feed.
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    job BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    body BLOB NOT NULL
);
CREATE UNIQUE INDEX events_job ON events (job, sequence);

CREATE TABLE outputs (
    job BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    body BLOB NOT NULL
);
CREATE UNIQUE INDEX outputs_job ON outputs (job, sequence);

-- Results of attempts that were fenced when they arrived: kept, and without effect.
CREATE TABLE late_results (
    job BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    received BIGINT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (job, epoch)
) WITHOUT ROWID;

CREATE TABLE state_counts (
    namespace TEXT NOT NULL,
    queue TEXT NOT NULL,
    state BIGINT NOT NULL,
    jobs BIGINT NOT NULL,
    PRIMARY KEY (namespace, queue, state)
) WITHOUT ROWID;

CREATE TABLE workers (
    worker TEXT PRIMARY KEY,
    incarnation TEXT NOT NULL,
    counter BIGINT NOT NULL,
    hello BLOB NOT NULL,
    connected BIGINT NOT NULL,
    renewed BIGINT NOT NULL,
    lost BIGINT NOT NULL
);
