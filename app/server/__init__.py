"""The process model: one parent that owns the signals, and the workers that it forks.

Law: the parent has no event loop and no thread, so that forking it is safe; everything that serves is made in a worker.
"""
