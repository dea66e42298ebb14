"""Alembic migrations, run by the service at start."""
