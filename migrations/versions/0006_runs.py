"""Training runs: their metrics, samples, alarms, and where later attempts took them up again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(name, TIMESTAMP(timezone=True), nullable=False, server_default=sa.func.now())


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("project_id", sa.Uuid, sa.ForeignKey("projects.id"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("config", sa.LargeBinary, nullable=False),
        sa.Column("metadata", sa.LargeBinary, nullable=False),
        sa.Column("status", sa.Text, nullable=False, server_default="running"),
        sa.Column("message", sa.LargeBinary),
        sa.Column("status_attempt", sa.Integer, nullable=False, server_default="1"),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="1"),
        sa.Column("metric_names", sa.ARRAY(sa.Text), nullable=False, server_default="{}"),
        _moment("created_at"),
        _moment("updated_at"),
        sa.UniqueConstraint("project_id", "name"),
        sa.CheckConstraint("status IN ('running', 'paused', 'finished', 'failed')", name="status"),
    )
    op.create_table(
        "run_resumes",
        sa.Column("run_id", sa.Uuid, sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        sa.Column("step", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "run_metrics",
        sa.Column("run_id", sa.Uuid, primary_key=True),
        sa.Column("step", sa.BigInteger, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("at", TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("value > '-Infinity' AND value < 'Infinity'", name="finite"),
    )
    op.create_table(
        "run_samples",
        sa.Column("run_id", sa.Uuid, primary_key=True),
        sa.Column("step", sa.BigInteger, primary_key=True),
        sa.Column("sample", sa.Integer, primary_key=True),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("score_id", sa.Uuid),
        sa.Column("reward", sa.Double),
        sa.Column("advantage", sa.Double),
        sa.Column("tokens", sa.Integer),
        sa.Column("finish_reason", sa.Text),
        sa.Column("item", sa.LargeBinary),
        _moment("recorded_at"),
        sa.CheckConstraint("reward > '-Infinity' AND reward < 'Infinity'", name="finite"),
        sa.CheckConstraint("advantage > '-Infinity' AND advantage < 'Infinity'", name="finite_advantage"),
    )
    op.create_index("ix_run_samples_unscored", "run_samples", ["run_id"], postgresql_where=sa.text("reward IS NULL"))
    op.create_index(
        "ix_run_samples_kept", "run_samples", ["run_id", "recorded_at"], postgresql_where=sa.text("item IS NOT NULL")
    )
    op.create_table(
        "run_alarms",
        sa.Column("run_id", sa.Uuid, primary_key=True),
        sa.Column("step", sa.BigInteger, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("message", sa.LargeBinary, nullable=False),
        sa.Column("values", sa.LargeBinary, nullable=False),
        sa.Column("at", TIMESTAMP(timezone=True), nullable=False),
    )


def downgrade() -> None:
    for table in ("run_alarms", "run_samples", "run_metrics", "run_resumes", "runs"):
        op.drop_table(table)
