"""The `headrace` command. It speaks to a server through the asyncio client only."""
