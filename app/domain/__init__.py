"""The slices: tenants, keys, audit, usage, prices. Each holds its tables, schemas, repository and service."""
