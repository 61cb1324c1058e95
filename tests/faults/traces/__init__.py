"""Traces: what a receiver gets, and what becomes of requests when it gets nothing."""
