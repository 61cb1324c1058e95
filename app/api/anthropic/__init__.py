"""Anthropic's paths of the inference API."""
