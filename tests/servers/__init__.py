"""Real servers for the tests and the benchmark: PostgreSQL, Redis, the gateway itself, and a proxy that breaks things.

Law: every server is ours alone. It listens on a free port of 127.0.0.1, keeps its files in a folder of its own, and
dies with the process that started it, however that one ends. What cannot start is an error with instructions, never a
skipped test. Nothing here needs pytest.
"""
