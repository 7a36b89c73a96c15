"""The console's actions as JSON under /api/v1: one table of routes, from which OpenAPI is made."""
