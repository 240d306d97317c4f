"""Names reserved by AutoForge or a database for streams, tables, metrics and events."""

from collections.abc import Mapping

RESERVED_NAMES = {
    "access",
    "alerts",
    "audit",
    "control",
    "corrections",
    "datasets",
    "device-accounts",
    "devices",
    "discovery",
    "docs",
    "health",
    "import",
    "info",
    "keys",
    "ledger",
    "live",
    "mqtt",
    "pages",
    "publisher",
    "rejected",
    "sensor",
    "session",
    "setup",
    "soil-health",
    "streams",
    "users",
}
"""The paths under `/api`, also those of integrations.

Programs that load no integration, the ingester and the simulators, must refuse the same files.
"""
RESERVED_COLUMNS = {
    *("id", "device_id", "timestamp", "device_timestamp", "fingerprint", "created_at", "value"),
    # System columns of PostgreSQL, of SQLite, and of InnoDB in MySQL and MariaDB.
    *("cmax", "cmin", "ctid", "oid", "tableoid", "xmax", "xmin"),
    "rowid",
    *("db_roll_ptr", "db_row_id", "db_trx_id", "fts_doc_id"),
    # Names in queries and responses.
    *("first_id", "last_id", "place_of_reading", "rest", "times"),
}
COLLISIONS: Mapping[str, set[str]] = {
    "machines": {"machine_id"},
    "soil": {"anomalies", "health_index", "status"},
}
"""The keys that the endpoints of a system add to the readings of its stream."""
ANALYSIS_FIELDS = {
    "anomalies",
    "factors",
    "health_index",
    "id",
    "limiting",
    "missing",
    "status",
    "timestamp",
}
RESERVED_EVENTS = {
    "command",
    "connect",
    "connect_error",
    "disconnect",
    "error",
    "gap",
    "message",
    "mqtt-connected",
    "mqtt-error",
    "presence",
    "reading",
}
RESERVED_TABLES = {
    "alembic_version",
    "analyses",
    "birth_certificates",
    "commands",
    "delivered_batches",
    "ignored_counts",
    "ingest_status",
    "installation",
    "jobs",
    "keyed_requests",
    "metric_quality",
    "newest_values",
    "presence",
    "processes",
    "rejected_messages",
    "rejected_shares",
    "rejection_counts",
    "rest_names",
    "stream_states",
    *(name.replace("-", "_") for name in RESERVED_NAMES),
}
RESERVED_PREFIXES = ("alembic_", "incoming_", "ix_", "pg_", "sqlite_", "uq_")
