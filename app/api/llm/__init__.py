"""The gateway's own dialect."""
