-- What each worker that connects is told, and what retention drops, is found by its time.
CREATE INDEX response_caches_invalidated ON response_caches (invalidated);
