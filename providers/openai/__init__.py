"""OpenAI's wire, which most vendors speak: both as a provider's dialect and as a client's."""
