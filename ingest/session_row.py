"""The columns of `installation` that are about sessions, and what is noted until it can be written."""

from typing import Any

from sqlalchemy import Connection

import queries.installation
from database import Database
from ingest.known_session import HANDOVER, Known, read


class SessionRow:
    """What is known of sessions; what happens is noted, and written when the database can be."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.known = Known("")
        self.noted: dict[str, Any] = {}
        """What is not yet in the database."""
        self.is_foreign = False
        """Whether the database is now that of another client id."""

    def read(self, connection: Connection) -> Known:
        """What the database has. Raises Unavailable."""
        return read(self._database, connection)

    def write_noted(self, connection: Connection) -> None:
        """Write what is noted. Raises Unavailable: then it is noted still."""
        if self.noted:
            self.write(connection, self.noted)
            self.noted = {}

    def write(self, connection: Connection, values: dict[str, Any]) -> None:
        """Write columns in a transaction of their own. Raises Unavailable."""
        with self._database.transaction(connection):
            self.update(connection, values)
        self.replace(values)

    def update(self, connection: Connection, values: dict[str, Any]) -> None:
        """Write columns within a transaction. Raises DBAPIError."""
        kept = {name: value for name, value in values.items() if not (self.is_foreign and name in HANDOVER)}
        if kept:
            queries.installation.change(connection, kept)

    def replace(self, values: dict[str, Any]) -> None:
        """Know these values."""
        about_sessions = values.keys() & {*Known._fields}
        self.known = self.known._replace(**{name: values[name] for name in about_sessions})
