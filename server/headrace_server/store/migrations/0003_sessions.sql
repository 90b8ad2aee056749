-- Conversations of several turns, each of them a job.

ALTER TABLE jobs RENAME COLUMN session TO claude_session;
