-- Settings of a namespace that are changed while the server runs.
CREATE TABLE settings (
    namespace TEXT PRIMARY KEY,
    body BLOB NOT NULL,
    version BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    actor TEXT NOT NULL
) WITHOUT ROWID;
