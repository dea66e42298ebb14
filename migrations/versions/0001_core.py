"""Projects, keys, verifiers and their versions, scores, completions, idempotency keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _created() -> sa.Column[object]:
    return sa.Column("created_at", TIMESTAMP(timezone=True), nullable=False, server_default=sa.func.now())


def upgrade() -> None:
    op.create_table(
        "projects",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("keep", sa.Text, nullable=False, server_default="full"),
        sa.Column("retention_days", sa.Integer),
        _created(),
        sa.CheckConstraint("keep IN ('full', 'hash', 'none')", name="keep"),
        sa.CheckConstraint("retention_days > 0", name="retention_days"),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("project_id", sa.Uuid, sa.ForeignKey("projects.id"), nullable=False, index=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("hint", sa.Text, nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text), nullable=False),
        _created(),
        sa.Column("revoked_at", TIMESTAMP(timezone=True)),
    )
    op.create_table(
        "verifiers",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("project_id", sa.Uuid, sa.ForeignKey("projects.id"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("archived_at", TIMESTAMP(timezone=True)),
        _created(),
        sa.UniqueConstraint("project_id", "name"),
    )
    op.create_table(
        "verifier_versions",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("project_id", sa.Uuid, sa.ForeignKey("projects.id"), nullable=False),
        sa.Column("verifier_id", sa.Uuid, sa.ForeignKey("verifiers.id")),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("config", sa.LargeBinary, nullable=False),
        sa.Column("config_sha256", sa.LargeBinary, nullable=False),
        sa.Column("description", sa.LargeBinary, nullable=False),
        sa.Column("examples", sa.LargeBinary, nullable=False),
        _created(),
        sa.UniqueConstraint("verifier_id", "version"),
        sa.CheckConstraint("(verifier_id IS NULL) = (version = 0)", name="version"),
    )
    op.create_index(
        "uq_verifier_versions_inline",
        "verifier_versions",
        ["project_id", "kind", "config_sha256"],
        unique=True,
        postgresql_where=sa.text("verifier_id IS NULL"),
    )
    # A version is what past scores mean; whoever has the connection, it does not change.
    op.execute(
        """
        CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% is insert-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER insert_only BEFORE UPDATE OR DELETE ON verifier_versions "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER insert_only_truncate BEFORE TRUNCATE ON verifier_versions "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.create_table(
        "scores",
        sa.Column("project_id", sa.Uuid, primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("batch_id", sa.Uuid, nullable=False),
        sa.Column("version_id", sa.Uuid),
        sa.Column("revision", sa.SmallInteger, nullable=False),
        sa.Column("run", sa.Text),
        sa.Column("step", sa.BigInteger),
        sa.Column("item_id", sa.LargeBinary),
        sa.Column("item_group", sa.LargeBinary),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("score", sa.Double),
        sa.Column("verdict", sa.LargeBinary, nullable=False),
        sa.Column("ms", sa.REAL, nullable=False),
        sa.Column("cached", sa.Boolean, nullable=False),
        sa.CheckConstraint("(score IS NULL) = (outcome IN ('unscored', 'pending'))", name="score"),
        sa.CheckConstraint("score > '-Infinity' AND score < 'Infinity'", name="finite"),
        postgresql_partition_by="RANGE (id)",
    )
    op.create_index(
        "ix_scores_run", "scores", ["project_id", "run", "id"], postgresql_where=sa.text("run IS NOT NULL")
    )
    op.create_table(
        "completions",
        sa.Column("project_id", sa.Uuid, primary_key=True),
        sa.Column("score_id", sa.Uuid, primary_key=True),
        sa.Column("sha256", sa.LargeBinary, nullable=False),
        sa.Column("item", sa.LargeBinary),
        postgresql_partition_by="RANGE (score_id)",
    )
    # Months are added while the service runs; these catch a row of a clock that is far off.
    op.execute("CREATE TABLE scores_other PARTITION OF scores DEFAULT")
    op.execute("CREATE TABLE completions_other PARTITION OF completions DEFAULT")
    op.create_table(
        "idempotency",
        sa.Column("project_id", sa.Uuid, sa.ForeignKey("projects.id"), primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("request_sha256", sa.LargeBinary, nullable=False),
        sa.Column("status", sa.SmallInteger),
        sa.Column("response", sa.LargeBinary),
        sa.Column("score_ids", sa.ARRAY(sa.Uuid)),
        _created(),
    )
    op.create_index("ix_idempotency_created_at", "idempotency", ["created_at"])


def downgrade() -> None:
    for table in ("idempotency", "completions", "scores", "verifier_versions", "verifiers", "keys", "projects"):
        op.drop_table(table)
    op.execute("DROP FUNCTION refuse_change()")
