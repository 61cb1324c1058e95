"""A provider that needs no vendor: it repeats what the user said. Law: doubles ship with the product."""
