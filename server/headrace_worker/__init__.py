"""The agent that runs attempts."""
