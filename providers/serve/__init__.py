"""One adapter as a service of its own, on the native wire. Law: the provider's credential never leaves this process."""

from providers.serve.service import AdapterService

__all__ = ["AdapterService"]
