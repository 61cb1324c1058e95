"""Google's dialect of the inference API."""
