"""The durable truth: a log of events for each job, and the rows that are its fold.

Verbs are synchronous functions of a `Ledger`, one transaction of the store, so that a simulator can run them inline;
`writer` runs them in groups. An engine file holds only connection, transaction and migration. SQL stands in the
verbs, once, in the dialect that the engines share.
"""
