"""What the server says of its things, as text for a terminal: a file for each kind of thing. Pure."""
