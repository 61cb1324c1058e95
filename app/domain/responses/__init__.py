"""Answers that clients of the Responses API may come back to, and every id that an organisation may refer to."""
