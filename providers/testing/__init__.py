"""Test doubles that ship with the product, and the contract that every adapter must keep.

`FakeProvider` is an OpenAI-compatible server that misbehaves on demand; `providers.testing.contract` (which needs
pytest) holds the suite that a third party's adapter subclasses.
"""

from providers.testing.embeddings import vector_of
from providers.testing.journal import Entry, Journal
from providers.testing.script import PRESETS, Script
from providers.testing.server import FakeProvider, serve_in_thread
from providers.testing.tokens import count_prompt_tokens, count_tokens

__all__ = [
    "PRESETS",
    "Entry",
    "FakeProvider",
    "Journal",
    "Script",
    "count_prompt_tokens",
    "count_tokens",
    "serve_in_thread",
    "vector_of",
]
