"""What a request has to be like: every rule of every field, and what this server does not honour."""
