"""The tables. migrations/ creates them; a test holds the two against each other.

Caller text is stored as bytes (JSON with every non-ASCII character escaped), since PostgreSQL's text refuses NUL
and lone surrogates, which completions contain. `scores` and `completions` are partitioned by their UUIDv7 id,
that is by time, and carry no foreign keys: a check a row would cost more than the row.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    and_,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

BUILTIN_PROJECT = UUID(int=0)
"""Owns the built-in verifiers, which every project sees. It has no keys."""
DEFAULT_PROJECT = "default"
"""The operator's project: its admin keys may create other projects."""


def _created() -> Column[object]:
    return Column("created_at", TIMESTAMP(timezone=True), nullable=False, server_default=func.now())


projects = Table(
    "projects",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("keep", Text, nullable=False, server_default="full"),
    Column("retention_days", Integer),
    _created(),
    CheckConstraint("keep IN ('full', 'hash', 'none')", name="keep"),
    CheckConstraint("retention_days > 0", name="retention_days"),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("project_id", Uuid, ForeignKey("projects.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("hint", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    _created(),
    Column("revoked_at", TIMESTAMP(timezone=True)),
)

verifiers = Table(
    "verifiers",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("project_id", Uuid, ForeignKey("projects.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("archived_at", TIMESTAMP(timezone=True)),
    _created(),
    UniqueConstraint("project_id", "name"),
)

verifier_versions = Table(
    "verifier_versions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("project_id", Uuid, ForeignKey("projects.id"), nullable=False),
    Column("verifier_id", Uuid, ForeignKey("verifiers.id")),  # null: sent inline with a request
    Column("version", Integer, nullable=False),  # 0: sent inline with a request
    Column("kind", Text, nullable=False),
    Column("config", LargeBinary, nullable=False),
    Column("config_sha256", LargeBinary, nullable=False),
    Column("description", LargeBinary, nullable=False),
    Column("examples", LargeBinary, nullable=False),
    _created(),
    UniqueConstraint("verifier_id", "version"),
    CheckConstraint("(verifier_id IS NULL) = (version = 0)", name="version"),
)
Index(
    "uq_verifier_versions_inline",
    verifier_versions.c.project_id,
    verifier_versions.c.kind,
    verifier_versions.c.config_sha256,
    unique=True,
    postgresql_where=verifier_versions.c.verifier_id.is_(None),
)

scores = Table(
    "scores",
    metadata,
    Column("project_id", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("batch_id", Uuid, nullable=False),
    Column("version_id", Uuid),  # null: the item named no verifier that exists
    Column("revision", SmallInteger, nullable=False),
    Column("run", Text),
    Column("step", BigInteger),
    Column("item_id", LargeBinary),
    Column("item_group", LargeBinary),
    Column("outcome", Text, nullable=False),
    Column("score", Double),
    Column("verdict", LargeBinary, nullable=False),  # detail, components, steps and error
    Column("ms", REAL, nullable=False),
    Column("cached", Boolean, nullable=False),
    CheckConstraint("(score IS NULL) = (outcome IN ('unscored', 'pending'))", name="score"),
    CheckConstraint("score > '-Infinity' AND score < 'Infinity'", name="finite"),
    postgresql_partition_by="RANGE (id)",
)
Index(
    "ix_scores_run",
    scores.c.project_id,
    scores.c.run,
    scores.c.id,
    postgresql_where=scores.c.run.is_not(None),
)

completions = Table(
    "completions",
    metadata,
    Column("project_id", Uuid, primary_key=True),
    Column("score_id", Uuid, primary_key=True),
    Column("sha256", LargeBinary, nullable=False),
    Column("item", LargeBinary),  # prompt, completion, reference and the rest; null where only the hash is kept
    postgresql_partition_by="RANGE (score_id)",
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("project_id", Uuid, ForeignKey("projects.id"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_sha256", LargeBinary, nullable=False),
    Column("status", SmallInteger),
    Column("response", LargeBinary),
    Column("score_ids", ARRAY(Uuid)),  # instead of a response: the scores that a request to /score recorded
    _created(),
    Index("ix_idempotency_created_at", text("created_at")),
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("project_id", Uuid, primary_key=True),
    Column("score_id", Uuid, primary_key=True),
    Column("version_id", Uuid, nullable=False),
    Column("run", Text),
    Column("key_sha256", LargeBinary),  # of the caller's key, never the key itself
    Column("default_score", Double),
    Column("due_at", TIMESTAMP(timezone=True), nullable=False),
    # when it is to be looked at next: at once where a signal may have come before the item, else when it is due
    Column("look_at", TIMESTAMP(timezone=True), nullable=False),
    Column("seq", BigInteger),  # place in the order of settling within the project; null while pending
    Column("settled_at", TIMESTAMP(timezone=True)),
    Column("by_default", Boolean),
    Column("score", Double),
    CheckConstraint("(seq IS NULL) = (settled_at IS NULL) AND (seq IS NULL) = (by_default IS NULL)", name="settled"),
    CheckConstraint("score IS NULL OR seq IS NOT NULL", name="score"),
    CheckConstraint("by_default OR (score IS NULL) = (seq IS NULL)", name="signal"),
)
"""Verdicts whose score a signal settles. Settled rows stay: theirs is the order in which GET /signals lists them."""
Index(
    "ix_outcomes_key",
    outcomes.c.project_id,
    outcomes.c.key_sha256,
    outcomes.c.by_default,
    outcomes.c.seq,
    postgresql_where=outcomes.c.key_sha256.is_not(None),
)
Index("ix_outcomes_look", outcomes.c.project_id, outcomes.c.look_at, postgresql_where=outcomes.c.seq.is_(None))
Index(
    "uq_outcomes_seq",
    outcomes.c.project_id,
    outcomes.c.seq,
    unique=True,
    postgresql_where=outcomes.c.seq.is_not(None),
)
Index(
    "ix_outcomes_run",
    outcomes.c.project_id,
    outcomes.c.run,
    outcomes.c.seq,
    postgresql_where=and_(outcomes.c.run.is_not(None), outcomes.c.seq.is_not(None)),
)

signals = Table(
    "signals",
    metadata,
    Column("project_id", Uuid, ForeignKey("projects.id"), primary_key=True),
    Column("key_sha256", LargeBinary, primary_key=True),
    Column("score", Double),
    Column("event_sha256", LargeBinary),
    Column("detail", LargeBinary),
    Column("received_at", TIMESTAMP(timezone=True), nullable=False),
    Column("used", Boolean, nullable=False),  # whether an item has had that key
    CheckConstraint("(score IS NULL) <> (event_sha256 IS NULL)", name="told"),
    CheckConstraint("score > '-Infinity' AND score < 'Infinity'", name="finite"),
    Index("ix_signals_received_at", "received_at"),
)
"""The first signal for each key, kept for items that are scored later."""
Index("ix_signals_unused", signals.c.project_id, postgresql_where=~signals.c.used)

backends = Table(
    "backends",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("url", Text, nullable=False),  # ASCII, checked on its way in
    Column("allow_private", Boolean, nullable=False),
    Column("limits", LargeBinary, nullable=False),
    Column("secrets", LargeBinary, nullable=False),
    _created(),
    Column("archived_at", TIMESTAMP(timezone=True)),
    Column("options", LargeBinary),
)
"""Servers that an operator configured, for every project."""
Index("uq_backends_live", backends.c.name, unique=True, postgresql_where=backends.c.archived_at.is_(None))

reports = Table(
    "reports",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("project_id", Uuid, ForeignKey("projects.id"), nullable=False),
    Column("version_id", Uuid, ForeignKey("verifier_versions.id"), nullable=False),
    Column("type", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    _created(),
    CheckConstraint("type IN ('probes', 'calibration')", name="type"),
    Index("ix_reports_project_id_version_id", "project_id", "version_id"),
)
"""What measuring a version has shown: the last of each type counts, and earlier ones are kept."""

runs = Table(
    "runs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("project_id", Uuid, ForeignKey("projects.id"), nullable=False),
    Column("name", Text, nullable=False),  # what /score is sent as `run`
    Column("config", LargeBinary, nullable=False),
    Column("metadata", LargeBinary, nullable=False),
    Column("status", Text, nullable=False, server_default="running"),
    Column("message", LargeBinary),
    Column("status_attempt", Integer, nullable=False, server_default="1"),  # whose word the status is
    Column("attempt", Integer, nullable=False, server_default="1"),  # the highest that was heard of
    Column("metric_names", ARRAY(Text), nullable=False, server_default="{}"),
    _created(),
    Column("updated_at", TIMESTAMP(timezone=True), nullable=False, server_default=func.now()),
    UniqueConstraint("project_id", "name"),
    CheckConstraint("status IN ('running', 'paused', 'finished', 'failed')", name="status"),
)
"""Training runs. What they log carries no foreign keys: a check a row would cost more than the row."""

run_resumes = Table(
    "run_resumes",
    metadata,
    Column("run_id", Uuid, ForeignKey("runs.id"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("step", BigInteger, nullable=False),
)
"""From which step an attempt went on: what lower attempts did beyond it is void, however late it comes."""

run_metrics = Table(
    "run_metrics",
    metadata,
    Column("run_id", Uuid, primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("value", Double),  # null: not finite
    Column("at", TIMESTAMP(timezone=True), nullable=False),
    CheckConstraint("value > '-Infinity' AND value < 'Infinity'", name="finite"),
)

run_samples = Table(
    "run_samples",
    metadata,
    Column("run_id", Uuid, primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("sample", Integer, primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("score_id", Uuid),
    Column("reward", Double),  # null: unscored
    Column("advantage", Double),
    Column("tokens", Integer),
    Column("finish_reason", Text),
    Column("item", LargeBinary),  # prompt, completion, metadata; null where none was sent, or it is not kept
    Column("recorded_at", TIMESTAMP(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("reward > '-Infinity' AND reward < 'Infinity'", name="finite"),
    CheckConstraint("advantage > '-Infinity' AND advantage < 'Infinity'", name="finite_advantage"),
)
Index("ix_run_samples_unscored", run_samples.c.run_id, postgresql_where=run_samples.c.reward.is_(None))
Index(
    "ix_run_samples_kept",
    run_samples.c.run_id,
    run_samples.c.recorded_at,
    postgresql_where=run_samples.c.item.is_not(None),
)

run_alarms = Table(
    "run_alarms",
    metadata,
    Column("run_id", Uuid, primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("message", LargeBinary, nullable=False),
    Column("values", LargeBinary, nullable=False),
    Column("at", TIMESTAMP(timezone=True), nullable=False),
)
