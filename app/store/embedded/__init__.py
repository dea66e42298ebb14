"""The embedded PostgreSQL: a real server of this service's own, for hosts where no other is configured."""

from app.store.embedded.errors import EmbeddedPostgresError
from app.store.embedded.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError"]
