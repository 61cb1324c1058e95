"""The cache as its users and operators meet it."""
