-- From when on kept answers of a namespace count, where somebody has said so.
CREATE TABLE response_caches (
    namespace TEXT PRIMARY KEY,
    invalidated BIGINT NOT NULL,
    actor TEXT NOT NULL
) WITHOUT ROWID;
