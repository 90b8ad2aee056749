-- What jobs produced beside their logs. `complete`: all of it was sent, and it is the job's; before, it is the attempt's.
CREATE TABLE artifacts (
    job BIGINT NOT NULL,
    name TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    media_type TEXT NOT NULL,
    size BIGINT NOT NULL,
    parts BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    cut BIGINT NOT NULL,
    complete BIGINT NOT NULL,
    PRIMARY KEY (job, name, epoch)
) WITHOUT ROWID;

CREATE TABLE artifact_parts (
    job BIGINT NOT NULL,
    name TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    number BIGINT NOT NULL,
    start BIGINT NOT NULL,
    data BLOB NOT NULL
);
CREATE UNIQUE INDEX artifact_parts_number ON artifact_parts (job, name, epoch, number);
