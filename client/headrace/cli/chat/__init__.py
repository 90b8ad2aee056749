"""`headrace chat`: a conversation at a terminal, which goes on without it."""
