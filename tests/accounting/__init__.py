"""Usage events for tests, and what the books must say of them. Law: reckoned in Python alone, with none of our code."""
