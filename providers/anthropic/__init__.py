"""Anthropic's Messages API: both as a provider's dialect and as a client's."""
