"""The columns of `installation` that describe sessions, with changes pending until written."""

from typing import Any

from sqlalchemy import Connection

import queries.installation
from database import Database
from ingest.known_session import HANDOVER, Known, read


class SessionRow:
    """The state of the sessions; changes are pending until the database is available."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.known = Known("")
        self.noted: dict[str, Any] = {}
        """The changes that are not in the database yet."""
        self.is_foreign = False
        """Whether the database now belongs to another client id."""

    def read(self, connection: Connection) -> Known:
        """Read the state in the database. Raises Unavailable."""
        return read(self._database, connection)

    def write_noted(self, connection: Connection) -> None:
        """Write the pending changes. Raises Unavailable; then they stay pending."""
        if self.noted:
            self.write(connection, self.noted)
            self.noted = {}

    def write(self, connection: Connection, values: dict[str, Any]) -> None:
        """Write columns in a separate transaction. Raises Unavailable."""
        with self._database.transaction(connection):
            self.update(connection, values)
        self.replace(values)

    def update(self, connection: Connection, values: dict[str, Any]) -> None:
        """Write columns within a transaction. Raises DBAPIError."""
        foreign = HANDOVER if self.is_foreign else set()
        own = {name: value for name, value in values.items() if name not in foreign}
        if own:
            queries.installation.change(connection, own)

    def replace(self, values: dict[str, Any]) -> None:
        """Replace values of the known state."""
        about_sessions = values.keys() & {*Known._fields}
        self.known = self.known._replace(**{name: values[name] for name in about_sessions})
