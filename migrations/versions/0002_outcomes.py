"""Outcomes that signals settle, and signals kept for items that are scored later."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "outcomes",
        sa.Column("project_id", sa.Uuid, primary_key=True),
        sa.Column("score_id", sa.Uuid, primary_key=True),
        sa.Column("version_id", sa.Uuid, nullable=False),
        sa.Column("run", sa.Text),
        sa.Column("key_sha256", sa.LargeBinary),
        sa.Column("default_score", sa.Double),
        sa.Column("due_at", TIMESTAMP(timezone=True), nullable=False),
        sa.Column("look_at", TIMESTAMP(timezone=True), nullable=False),
        sa.Column("seq", sa.BigInteger),
        sa.Column("settled_at", TIMESTAMP(timezone=True)),
        sa.Column("by_default", sa.Boolean),
        sa.Column("score", sa.Double),
        sa.CheckConstraint(
            "(seq IS NULL) = (settled_at IS NULL) AND (seq IS NULL) = (by_default IS NULL)", name="settled"
        ),
        sa.CheckConstraint("score IS NULL OR seq IS NOT NULL", name="score"),
        sa.CheckConstraint("by_default OR (score IS NULL) = (seq IS NULL)", name="signal"),
    )
    op.create_index(
        "ix_outcomes_key",
        "outcomes",
        ["project_id", "key_sha256", "by_default", "seq"],
        postgresql_where=sa.text("key_sha256 IS NOT NULL"),
    )
    op.create_index(
        "ix_outcomes_look", "outcomes", ["project_id", "look_at"], postgresql_where=sa.text("seq IS NULL")
    )
    op.create_index(
        "uq_outcomes_seq",
        "outcomes",
        ["project_id", "seq"],
        unique=True,
        postgresql_where=sa.text("seq IS NOT NULL"),
    )
    op.create_index(
        "ix_outcomes_run",
        "outcomes",
        ["project_id", "run", "seq"],
        postgresql_where=sa.text("run IS NOT NULL AND seq IS NOT NULL"),
    )
    op.create_table(
        "signals",
        sa.Column("project_id", sa.Uuid, sa.ForeignKey("projects.id"), primary_key=True),
        sa.Column("key_sha256", sa.LargeBinary, primary_key=True),
        sa.Column("score", sa.Double),
        sa.Column("event_sha256", sa.LargeBinary),
        sa.Column("detail", sa.LargeBinary),
        sa.Column("received_at", TIMESTAMP(timezone=True), nullable=False),
        sa.Column("used", sa.Boolean, nullable=False),
        sa.CheckConstraint("(score IS NULL) <> (event_sha256 IS NULL)", name="told"),
        sa.CheckConstraint("score > '-Infinity' AND score < 'Infinity'", name="finite"),
    )
    op.create_index("ix_signals_received_at", "signals", ["received_at"])
    op.create_index("ix_signals_unused", "signals", ["project_id"], postgresql_where=sa.text("NOT used"))


def downgrade() -> None:
    op.drop_table("signals")
    op.drop_table("outcomes")
