"""Jobs, sessions, queues, schedules, workers as messages of the contract, and back. A `*_view` also reads what it
shows, in one moment of the store."""
