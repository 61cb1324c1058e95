"""Usage: one event for every upstream attempt."""
