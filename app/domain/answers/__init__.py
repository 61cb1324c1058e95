"""Answers kept for `Idempotency-Key` on inference, and who is on the way to one."""
