"""The executor `claude`: our own driver of the CLI's stream-json and control protocol."""
