-- The UTC day on which a log was told that so much of a budget is used that somebody should know; zero for not since it was set.
ALTER TABLE budgets ADD COLUMN warned BIGINT NOT NULL DEFAULT 0;
