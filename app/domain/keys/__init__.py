"""Keys: the secrets that clients and administrators present, and what each may do."""
