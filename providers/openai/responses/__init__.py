"""OpenAI's Responses wire, both as a provider's dialect and as a client's."""
