"""The gateway as seen from outside: bytes on its sockets, rows in its database.

Law: nothing here imports `app`; what it reads is what an operator or a client could read.
"""
