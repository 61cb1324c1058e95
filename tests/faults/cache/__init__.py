"""The cache with what breaks it: leaders that die or leave, stores that are down, callers who mean harm."""
