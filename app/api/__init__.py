"""The HTTP API: one router for each resource, each thin."""
