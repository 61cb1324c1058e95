"""Bytes to frames and back. Law: no I/O, no vendor; the same frames for every cut of the same bytes."""
