-- What waits for a person is counted at every look at the store, however much was asked before.
CREATE INDEX inputs_open ON inputs (job, asked) WHERE resolved = 0;
