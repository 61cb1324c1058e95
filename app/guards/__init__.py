"""Guards refuse the caller. Law: deny by default; every handler names what it requires."""
