"""The ASGI ring of every plane. Law: middleware names the caller; guards refuse the caller."""
