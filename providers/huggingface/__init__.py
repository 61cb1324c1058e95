"""Text Generation Inference, Hugging Face's server, by its own API. Their router speaks OpenAI's."""
