"""Metrics and logs. Law: the hot path only adds numbers and appends structs; everything dear happens elsewhere."""
