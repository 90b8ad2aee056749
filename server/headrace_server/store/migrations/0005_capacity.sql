-- What Claude jobs may ask of the model's service, and spend.

-- The capacity domain of a group's jobs; empty for what is no Claude job.
ALTER TABLE ready_groups ADD COLUMN domain TEXT NOT NULL DEFAULT '';
UPDATE ready_groups SET domain = 'default/default' WHERE needs LIKE '["claude",%';
CREATE INDEX ready_groups_domain ON ready_groups (domain) WHERE domain <> '';

-- Domains of which something is to be remembered; every other one is open. `most`: jobs that may run at once, zero for no limit.
CREATE TABLE capacity_domains (
    name TEXT PRIMARY KEY,
    state BIGINT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    cause BIGINT NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    most BIGINT NOT NULL,
    ceiling BIGINT NOT NULL,
    successes BIGINT NOT NULL,
    refusals BIGINT NOT NULL
) WITHOUT ROWID;

-- An empty owner stands for the namespace. `day`: the UTC day that `spent` is of, for a budget by day.
CREATE TABLE budgets (
    namespace TEXT NOT NULL,
    owner TEXT NOT NULL,
    period BIGINT NOT NULL,
    cost_max BIGINT NOT NULL,
    tokens_max BIGINT NOT NULL,
    warn_fraction DOUBLE PRECISION NOT NULL,
    reservation BIGINT NOT NULL,
    actor TEXT NOT NULL,
    created BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    day BIGINT NOT NULL,
    spent BIGINT NOT NULL,
    spent_tokens BIGINT NOT NULL,
    PRIMARY KEY (namespace, owner, period)
) WITHOUT ROWID;

-- One row for each Claude job that a worker holds under a budget: gone with its lease. What it may use and what it has used, in
-- millionths of a US dollar; `stopped`: it has to end.
CREATE TABLE reservations (
    job INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    owner TEXT NOT NULL,
    reserved BIGINT NOT NULL,
    used BIGINT NOT NULL,
    used_tokens BIGINT NOT NULL,
    stopped BIGINT NOT NULL
);
CREATE INDEX reservations_owner ON reservations (namespace, owner);
