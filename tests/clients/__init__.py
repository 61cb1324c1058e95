"""Clients that people really use, each run unmodified through a served gateway.

Law: a client is told its base URL, its key and a model's name, and nothing else.
"""
