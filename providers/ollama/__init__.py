"""Ollama's own API: JSON lines."""
