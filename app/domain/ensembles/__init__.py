"""Models that answer together, made through the admin API. Law: the file's win, and only the file changes those."""
