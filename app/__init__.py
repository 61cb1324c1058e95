"""The gateway application: settings, stores, domain, pipeline and both planes."""
