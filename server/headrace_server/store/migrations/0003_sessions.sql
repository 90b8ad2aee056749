-- Conversations of several turns, each of them a job.

ALTER TABLE jobs RENAME COLUMN session TO claude_session;

-- `ended` is zero while it takes turns; `lost` says that it ended because what holds its conversation is gone. `turns` is the number
-- of the latest turn, `ended_turns` how many have ended. `worker`, `incarnation`, `binding_epoch`, `bound`: where its process was last
-- started. `source_worker` has the conversation that a fork goes on from, until it has its own.
CREATE TABLE sessions (
    session INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    namespace TEXT NOT NULL,
    owner TEXT NOT NULL,
    queue TEXT NOT NULL,
    created BIGINT NOT NULL,
    forked_from BLOB,
    source_worker TEXT NOT NULL,
    source_claude_session TEXT NOT NULL,
    request_id TEXT NOT NULL,
    spec BLOB NOT NULL,
    version BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    activity BIGINT NOT NULL,
    ended BIGINT NOT NULL,
    lost BIGINT NOT NULL,
    end_reason TEXT NOT NULL,
    turns BIGINT NOT NULL,
    ended_turns BIGINT NOT NULL,
    run_micros BIGINT NOT NULL,
    usage TEXT NOT NULL,
    claude_session TEXT NOT NULL,
    worker TEXT NOT NULL,
    incarnation TEXT NOT NULL,
    binding_epoch BIGINT NOT NULL,
    bound BIGINT NOT NULL
);
CREATE INDEX sessions_open ON sessions (namespace, owner) WHERE ended = 0;
CREATE INDEX sessions_ended ON sessions (ended) WHERE ended > 0;
CREATE INDEX sessions_forks ON sessions (forked_from) WHERE forked_from IS NOT NULL;
CREATE INDEX sessions_worker ON sessions (worker, session);
INSERT INTO sequences (name, value) VALUES ('session', 0);

CREATE TABLE session_labels (
    namespace TEXT NOT NULL,
    label TEXT NOT NULL,
    value TEXT NOT NULL,
    session BIGINT NOT NULL,
    PRIMARY KEY (namespace, label, value, session)
) WITHOUT ROWID;

-- `background`: the CLI began it by itself, as the number that its worker gave it within the binding; zero for a message.
CREATE TABLE session_turns (
    session BIGINT NOT NULL,
    number BIGINT NOT NULL,
    job BIGINT NOT NULL,
    ended BIGINT NOT NULL,
    binding_epoch BIGINT NOT NULL,
    background BIGINT NOT NULL,
    PRIMARY KEY (session, number)
) WITHOUT ROWID;
CREATE INDEX session_turns_job ON session_turns (session, job);
CREATE INDEX session_turns_pending ON session_turns (session, number) WHERE ended = 0;
CREATE UNIQUE INDEX session_turns_background ON session_turns (session, binding_epoch, background) WHERE background > 0;

-- A request that made a session, not a job.
ALTER TABLE requests ADD COLUMN session BIGINT NOT NULL DEFAULT 0;
