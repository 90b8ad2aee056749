"""What a request has to be like: every rule of every field."""
