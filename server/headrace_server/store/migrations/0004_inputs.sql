-- What attempts ask of a person. `resolved` is zero while a request is open; `body` is empty afterwards, the log has it.
-- `answer` is a digest of what was answered, so that a repeat is recognised.
CREATE TABLE inputs (
    job BIGINT NOT NULL,
    request_id TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    body BLOB NOT NULL,
    asked BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    resolved BIGINT NOT NULL DEFAULT 0,
    resolution BIGINT NOT NULL DEFAULT 0,
    actor TEXT NOT NULL DEFAULT '',
    answer BLOB NOT NULL DEFAULT x'',
    PRIMARY KEY (job, request_id, epoch)
);

-- What a running attempt is told besides its end: said again until its worker acknowledges it, and gone with the attempt.
CREATE TABLE commands (
    job BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    number BIGINT NOT NULL,
    body BLOB NOT NULL,
    time BIGINT NOT NULL,
    acknowledged BIGINT NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (job, epoch, number)
);
CREATE INDEX commands_open ON commands (job, epoch, number) WHERE acknowledged = 0;
