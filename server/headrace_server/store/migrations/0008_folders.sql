-- The folder that jobs of a ready key want to have to themselves: a normalised path, or empty. It is part of what a key stands for.
CREATE TABLE ready_keys_of_folders (
    key INTEGER PRIMARY KEY,
    ready_group BIGINT NOT NULL,
    namespace TEXT NOT NULL,
    queue TEXT NOT NULL,
    owner TEXT NOT NULL,
    concurrency_key TEXT NOT NULL,
    folder TEXT NOT NULL,
    live BIGINT NOT NULL,
    ready BIGINT NOT NULL,
    leased BIGINT NOT NULL,
    leased_slots BIGINT NOT NULL,
    leased_since BIGINT NOT NULL,
    head BIGINT NOT NULL,
    head_job BIGINT NOT NULL,
    parked BIGINT NOT NULL,
    UNIQUE (ready_group, owner, concurrency_key, folder)
);
INSERT INTO ready_keys_of_folders (
    key, ready_group, namespace, queue, owner, concurrency_key, folder, live, ready, leased, leased_slots, leased_since, head,
    head_job, parked
)
    SELECT key, ready_group, namespace, queue, owner, concurrency_key, '', live, ready, leased, leased_slots, leased_since, head,
        head_job, parked
    FROM ready_keys;
DROP TABLE ready_keys;
ALTER TABLE ready_keys_of_folders RENAME TO ready_keys;
CREATE INDEX ready_keys_open ON ready_keys (ready_group, head, head_job) WHERE ready > 0 AND parked = 0;
CREATE INDEX ready_keys_owner ON ready_keys (ready_group, owner, head, head_job) WHERE ready > 0 AND parked = 0;
CREATE INDEX ready_keys_parked ON ready_keys (parked) WHERE parked > 0;
CREATE INDEX ready_keys_limited ON ready_keys (namespace, queue, concurrency_key) WHERE concurrency_key <> '';
CREATE INDEX ready_keys_leased ON ready_keys (namespace, queue) WHERE leased > 0;
CREATE INDEX ready_keys_folder ON ready_keys (folder) WHERE folder <> '';
CREATE INDEX ready_keys_working ON ready_keys (folder) WHERE folder <> '' AND leased > 0;
