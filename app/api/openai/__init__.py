"""OpenAI's paths."""
