"""The RPC edge: what turns calls into verbs of the store and the runtime, and refusals into statuses."""
