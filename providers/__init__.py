"""Vendors: everything that an adapter author imports. Law: knows nothing of `app`."""
