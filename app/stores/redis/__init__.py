"""The stores on Redis. Law: hiredis and redis-py enter the gateway here alone; Lua has its own files."""
