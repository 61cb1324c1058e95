"""The database: engine, transactions, portable SQL, paging, schema. Law: SQLite and PostgreSQL differ by URL only."""
