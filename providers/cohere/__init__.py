"""Cohere's own API, version 2."""
