"""The admin API: handlers translate, services decide, repositories query."""
