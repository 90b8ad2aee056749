"""The rpcs that last: following a log, the feed, conversations, the two lanes of a worker, artifacts."""
