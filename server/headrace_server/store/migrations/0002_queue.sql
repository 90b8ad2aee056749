-- What the queue keeps besides jobs and their logs: limits, deadlines, dependencies, unique keys, schedules, history.

-- Jobs of one queue with the same needs. The scheduler looks at groups that have ready jobs, then at their keys.
CREATE TABLE ready_groups (
    ready_group INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    queue TEXT NOT NULL,
    needs TEXT NOT NULL,
    ready BIGINT NOT NULL,
    UNIQUE (namespace, queue, needs)
);
CREATE INDEX ready_groups_ready ON ready_groups (ready_group) WHERE ready > 0;
INSERT INTO ready_groups (ready_group, namespace, queue, needs, ready)
    SELECT key, namespace, queue, needs, ready FROM ready_keys;
DROP TABLE ready_keys;

-- Jobs of a group with the same owner and concurrency key: what limits and fairness are about. `head` and `head_job`
-- are at most the rank and row of its first ready job. A key that a limit holds is parked until a time, or until one of its jobs ends (then `parked` is the largest time).
CREATE TABLE ready_keys (
    key INTEGER PRIMARY KEY,
    ready_group BIGINT NOT NULL,
    namespace TEXT NOT NULL,
    queue TEXT NOT NULL,
    owner TEXT NOT NULL,
    concurrency_key TEXT NOT NULL,
    live BIGINT NOT NULL,
    ready BIGINT NOT NULL,
    leased BIGINT NOT NULL,
    leased_slots BIGINT NOT NULL,
    leased_since BIGINT NOT NULL,
    head BIGINT NOT NULL,
    head_job BIGINT NOT NULL,
    parked BIGINT NOT NULL,
    UNIQUE (ready_group, owner, concurrency_key)
);
CREATE INDEX ready_keys_open ON ready_keys (ready_group, head, head_job) WHERE ready > 0 AND parked = 0;
CREATE INDEX ready_keys_owner ON ready_keys (ready_group, owner, head, head_job) WHERE ready > 0 AND parked = 0;
CREATE INDEX ready_keys_parked ON ready_keys (parked) WHERE parked > 0;
CREATE INDEX ready_keys_limited ON ready_keys (namespace, queue, concurrency_key) WHERE concurrency_key <> '';
CREATE INDEX ready_keys_leased ON ready_keys (namespace, queue) WHERE leased > 0;
INSERT INTO ready_keys (
    key, ready_group, namespace, queue, owner, concurrency_key, live, ready, leased, leased_slots, leased_since, head, head_job,
    parked
)
    SELECT row_number() OVER (ORDER BY key, owner), key, namespace, queue, owner, '',
        sum(CASE WHEN state < 20 THEN 1 ELSE 0 END),
        sum(CASE WHEN state = 3 AND holder = '' THEN 1 ELSE 0 END),
        sum(CASE WHEN state IN (4, 5, 6, 7) THEN 1 ELSE 0 END),
        sum(CASE WHEN state IN (4, 5, 6, 7) THEN 1 ELSE 0 END),
        sum(CASE WHEN state IN (4, 5, 6, 7) THEN updated / 1000 ELSE 0 END), min(rank), 0, 0
    FROM jobs GROUP BY key, namespace, queue, owner;
UPDATE sequences SET value = (SELECT coalesce(max(key), 0) FROM ready_keys) WHERE name = 'key';
INSERT INTO sequences (name, value) VALUES ('group', (SELECT coalesce(max(ready_group), 0) FROM ready_groups)), ('audit', 0);
UPDATE jobs SET key = (
    SELECT ready_keys.key FROM ready_keys WHERE ready_keys.ready_group = jobs.key AND ready_keys.owner = jobs.owner
);

ALTER TABLE jobs ADD COLUMN slots BIGINT NOT NULL DEFAULT 1;
ALTER TABLE jobs ADD COLUMN concurrency_key TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN queued BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN start_by BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN end_by BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN assigned BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN run_by BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN silence BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN asked BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN timed_out BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN snoozes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN wake BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN begun BIGINT NOT NULL DEFAULT 0;
UPDATE jobs SET begun = updated, flags = flags - 8 WHERE flags & 8 = 8;
UPDATE jobs SET wake = due WHERE due > 0 AND (state = 1 OR (state = 3 AND holder <> ''));
UPDATE jobs SET queued = updated WHERE state = 3;
UPDATE jobs SET assigned = updated WHERE state IN (4, 5, 6, 7);
DROP INDEX jobs_due;
CREATE INDEX jobs_wake ON jobs (wake) WHERE wake > 0;
CREATE INDEX jobs_queued ON jobs (namespace, queue, job) WHERE state = 3;
CREATE INDEX jobs_waiting ON jobs (namespace, queue, job) WHERE state IN (1, 2);

-- What a handler said last about how far it is. One row a job, replaced.
CREATE TABLE checkpoints (
    job INTEGER PRIMARY KEY,
    body BLOB NOT NULL
);

-- A job (`child`) and one that it depends on (`parent`). `rule` is the child's, the same in all of its rows. `state` is how the
-- parent ended, zero before the child was told.
CREATE TABLE dependencies (
    child BIGINT NOT NULL,
    place BIGINT NOT NULL,
    parent BIGINT NOT NULL,
    parent_id BLOB NOT NULL,
    rule BIGINT NOT NULL,
    state BIGINT NOT NULL,
    PRIMARY KEY (child, place)
) WITHOUT ROWID;
CREATE INDEX dependencies_parent ON dependencies (parent, child);

-- Parents that ended and whose children have not all been told: those up to `told` have.
CREATE TABLE ended_parents (
    parent INTEGER PRIMARY KEY,
    state BIGINT NOT NULL,
    told BIGINT NOT NULL
);

-- Place 1: the job that may run. Place 2: the one that waits for it. Place 0: jobs that have ended.
CREATE TABLE unique_keys (
    namespace TEXT NOT NULL,
    queue TEXT NOT NULL,
    unique_key TEXT NOT NULL,
    job BIGINT NOT NULL,
    place BIGINT NOT NULL,
    PRIMARY KEY (namespace, queue, unique_key, job)
) WITHOUT ROWID;
CREATE UNIQUE INDEX unique_keys_place ON unique_keys (namespace, queue, unique_key, place) WHERE place > 0;
CREATE INDEX unique_keys_job ON unique_keys (job);

-- A job and the one that RetryJob made it from.
CREATE TABLE retries (
    origin BIGINT NOT NULL,
    job BIGINT NOT NULL,
    PRIMARY KEY (origin, job)
) WITHOUT ROWID;

-- Of deleted jobs: their `request_id` is remembered for a while, and their logs are removed in steps.
ALTER TABLE requests ADD COLUMN deleted BIGINT NOT NULL DEFAULT 0;
ALTER TABLE requests ADD COLUMN state BIGINT NOT NULL DEFAULT 0;
CREATE INDEX requests_deleted ON requests (deleted) WHERE deleted > 0;
-- Requests that were answered with the job that another one had made, because of its unique key.
ALTER TABLE requests ADD COLUMN borrowed BIGINT NOT NULL DEFAULT 0;
CREATE INDEX requests_borrowed ON requests (id) WHERE borrowed = 1;
ALTER TABLE job_specs ADD COLUMN request_id TEXT NOT NULL DEFAULT '';
UPDATE job_specs SET request_id = coalesce(
    (SELECT requests.request_id FROM requests JOIN jobs ON jobs.id = requests.id WHERE jobs.job = job_specs.job), ''
);
CREATE TABLE removals (
    job INTEGER PRIMARY KEY
);

-- The consumed slot-seconds of an owner (scope 2) or concurrency key (scope 3) of a fair queue, decayed to `updated`; `mean` is what
-- a slot of its jobs mostly takes. `active`: it had jobs when it was last looked at.
CREATE TABLE shares (
    namespace TEXT NOT NULL,
    queue TEXT NOT NULL,
    scope BIGINT NOT NULL,
    name TEXT NOT NULL,
    usage DOUBLE PRECISION NOT NULL,
    updated BIGINT NOT NULL,
    mean DOUBLE PRECISION NOT NULL,
    active BIGINT NOT NULL,
    PRIMARY KEY (namespace, queue, scope, name)
) WITHOUT ROWID;

-- When the bucket of a queue (empty key) or of one of its concurrency keys is full again, were nothing more to start.
CREATE TABLE rate_buckets (
    namespace TEXT NOT NULL,
    queue TEXT NOT NULL,
    concurrency_key TEXT NOT NULL,
    full_at BIGINT NOT NULL,
    PRIMARY KEY (namespace, queue, concurrency_key)
) WITHOUT ROWID;

-- Queues that are paused (kind 1) or drained (kind 2). `until`: when a pause ends, or when what still runs is handed back; zero for never.
CREATE TABLE queue_stops (
    namespace TEXT NOT NULL,
    queue TEXT NOT NULL,
    kind BIGINT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    time BIGINT NOT NULL,
    until BIGINT NOT NULL,
    PRIMARY KEY (namespace, queue, kind)
) WITHOUT ROWID;

-- `started`: no tick up to it. `missed_until`: what was due by then was missed, because of a pause. `last`: the last tick that was
-- dealt with. `buffered`: the tick that waits for a job to end. `next_tick`: the one to come. `wake`: when a cycle has to look at it.
-- Zero for none.
CREATE TABLE schedules (
    schedule INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    queue TEXT NOT NULL,
    body BLOB NOT NULL,
    version BIGINT NOT NULL,
    actor TEXT NOT NULL,
    created BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    paused BIGINT NOT NULL,
    pause_actor TEXT NOT NULL,
    pause_reason TEXT NOT NULL,
    started BIGINT NOT NULL,
    missed_until BIGINT NOT NULL,
    last BIGINT NOT NULL,
    buffered BIGINT NOT NULL,
    next_tick BIGINT NOT NULL,
    wake BIGINT NOT NULL,
    UNIQUE (namespace, name)
);
CREATE INDEX schedules_wake ON schedules (wake) WHERE wake > 0;
CREATE INDEX schedules_queue ON schedules (namespace, queue);
INSERT INTO sequences (name, value) VALUES ('schedule', 0);

-- One row for each tick that was dealt with: nothing can deal with it again. `live`: it made a job that has not ended.
CREATE TABLE firings (
    schedule BIGINT NOT NULL,
    nominal BIGINT NOT NULL,
    time BIGINT NOT NULL,
    outcome BIGINT NOT NULL,
    job_id BLOB NOT NULL,
    live BIGINT NOT NULL,
    catch_up BIGINT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (schedule, nominal)
) WITHOUT ROWID;
CREATE INDEX firings_live ON firings (schedule, nominal) WHERE live > 0;

CREATE TABLE worker_drains (
    worker TEXT PRIMARY KEY,
    actor TEXT NOT NULL,
    time BIGINT NOT NULL,
    return_time BIGINT NOT NULL,
    exits BIGINT NOT NULL
) WITHOUT ROWID;

CREATE TABLE audit (
    number INTEGER PRIMARY KEY,
    time BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    namespace TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    resource_name TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX audit_resource ON audit (resource_type, resource_name, number);

-- Counts for statistics, by minute: what was counted, with which value or in which bucket, how often.
CREATE TABLE queue_minutes (
    namespace TEXT NOT NULL,
    queue TEXT NOT NULL,
    minute BIGINT NOT NULL,
    measure BIGINT NOT NULL,
    value BIGINT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (namespace, queue, minute, measure, value)
) WITHOUT ROWID;
CREATE INDEX queue_minutes_minute ON queue_minutes (minute);

-- Which attempt made a piece of output, and of which kind it is; zero where it was written before anybody kept that.
ALTER TABLE outputs ADD COLUMN attempt BIGINT NOT NULL DEFAULT 0;
ALTER TABLE outputs ADD COLUMN kind BIGINT NOT NULL DEFAULT 0;

-- Jobs that ended long ago, and the sequence up to which their output was removed.
CREATE TABLE dropped_outputs (
    job INTEGER PRIMARY KEY,
    up_to BIGINT NOT NULL
);
