"""From settlement to the database: the ledger of usage events."""
