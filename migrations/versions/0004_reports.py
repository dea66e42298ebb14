"""Reports: what measuring a version of a verifier has shown."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reports",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("project_id", sa.Uuid, sa.ForeignKey("projects.id"), nullable=False),
        sa.Column("version_id", sa.Uuid, sa.ForeignKey("verifier_versions.id"), nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("created_at", TIMESTAMP(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint("type IN ('probes', 'calibration')", name="type"),
    )
    op.create_index("ix_reports_project_id_version_id", "reports", ["project_id", "version_id"])


def downgrade() -> None:
    op.drop_table("reports")
