"""PostgreSQL databases that live as long as one item, on a server that holds nothing else.

Besides `app.store` the one place with SQL and asyncpg: this is another server, whose statements are about databases
and roles and never about what is stored, so it shares neither the store's tables nor its connections.
"""

from app.scratch.databases import ScratchDatabases

__all__ = ["ScratchDatabases"]
