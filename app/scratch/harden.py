"""What is taken away in the database that every throw-away database is a copy of."""

from __future__ import annotations

import hashlib

REVOKED = (
    # waiting without using a processor
    "pg_sleep", "pg_sleep_for", "pg_sleep_until",
    # what all databases of the server share: the table of locks, the queue of notifications, the log
    "pg_advisory_lock", "pg_advisory_lock_shared", "pg_advisory_xact_lock", "pg_advisory_xact_lock_shared",
    "pg_try_advisory_lock", "pg_try_advisory_lock_shared", "pg_try_advisory_xact_lock",
    "pg_try_advisory_xact_lock_shared", "pg_notify", "pg_logical_emit_message",
    # other sessions
    "pg_cancel_backend", "pg_terminate_backend", "pg_log_backend_memory_contexts", "pg_stat_get_activity",
    "pg_lock_status", "pg_blocking_pids", "pg_safe_snapshot_blocking_pids", "pg_isolation_test_session_is_blocked",
    # files and large objects on the server
    "lo_creat", "lo_create", "lo_from_bytea", "lo_open", "lo_close", "loread", "lowrite", "lo_lseek", "lo_lseek64",
    "lo_tell", "lo_tell64", "lo_truncate", "lo_truncate64", "lo_get", "lo_put", "lo_unlink", "lo_import", "lo_export",
    "pg_read_file", "pg_read_binary_file", "pg_stat_file", "pg_ls_dir", "pg_ls_logdir", "pg_ls_waldir",
    "pg_ls_tmpdir", "pg_current_logfile",
    # another result each time
    "random", "random_normal", "setseed",
)  # fmt: skip
"""Functions that nobody but the service may call, in all their forms."""

REFUSED_TAGS = (
    "CREATE EXTENSION", "ALTER EXTENSION", "CREATE FOREIGN DATA WRAPPER", "CREATE SERVER", "CREATE USER MAPPING",
    "IMPORT FOREIGN SCHEMA", "CREATE FOREIGN TABLE", "CREATE PUBLICATION", "CREATE SUBSCRIPTION", "CREATE LANGUAGE",
)  # fmt: skip
"""Commands that are refused whatever the server has installed: some extensions are the database owner's to make."""

SCRIPT = f"""
DO $do$
DECLARE one regprocedure;
BEGIN
  FOR one IN SELECT oid FROM pg_catalog.pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
    AND proname IN ({", ".join(f"'{name}'" for name in REVOKED)})
  LOOP EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', one); END LOOP;
END $do$;
REVOKE ALL ON pg_catalog.pg_stat_activity, pg_catalog.pg_locks FROM PUBLIC;
CREATE SCHEMA assay;
REVOKE ALL ON SCHEMA assay FROM PUBLIC;
CREATE FUNCTION assay.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $do$
BEGIN RAISE EXCEPTION USING MESSAGE = tg_tag || ' is refused', ERRCODE = 'insufficient_privilege'; END $do$;
REVOKE ALL ON FUNCTION assay.refuse() FROM PUBLIC;
CREATE EVENT TRIGGER assay_refuse ON ddl_command_start
  WHEN TAG IN ({", ".join(f"'{tag}'" for tag in REFUSED_TAGS)}) EXECUTE FUNCTION assay.refuse();
"""  # noqa: S608 - names from above

BASE = f"assay_base_{hashlib.sha256(SCRIPT.encode()).hexdigest()[:12]}"
"""Named after the script, so that another version of it makes another database."""
