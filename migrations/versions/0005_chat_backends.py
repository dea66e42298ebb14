"""Backends that are chat models: the model, its prices, and what it can do."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("backends", sa.Column("chat", sa.LargeBinary))


def downgrade() -> None:
    op.drop_column("backends", "chat")
