"""What a backend has besides, by its type: a chat model's prices, a reward model's server."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("backends", sa.Column("options", sa.LargeBinary))


def downgrade() -> None:
    op.drop_column("backends", "options")
