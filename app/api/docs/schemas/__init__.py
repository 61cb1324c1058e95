"""The shapes of the inference API, for its documentation only: nothing is decoded or encoded by them.

What is unknown passes, so a shape forbids other fields only where the gateway itself does, or writes it itself.
"""
