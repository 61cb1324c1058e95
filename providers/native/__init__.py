"""Adapters behind a socket: the canonical structs as JSON over HTTP. Law: what an adapter says, it says here too."""
