"""The operations of the gateway plane as OpenAPI describes them: a module for each kind of path."""
