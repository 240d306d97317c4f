"""The memory of this installation's session at the broker, kept in the database."""

import contextlib
import json
import logging
import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

import queries.deliveries
from config import Settings
from database import Database, Unavailable
from ingest.known_session import (
    AT_ONCE,
    Known,
    other_broker_hint,
    report_new_session,
    to_bring_back,
    warn_of_left_sessions,
)
from ingest.session_row import SessionRow
from models import MAX_PROBLEM
from utils import clock

logger = logging.getLogger(__name__)
FOREIGN = (
    "The database now has another client id, as if from another installation: "
    "the current session stays in use until the next start, which names it"
)


class SessionMemory:
    """Remembers the session of this installation, its broker, and its history."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._broker = str(settings.broker)[:MAX_PROBLEM]
        self._database = database
        self._row = SessionRow(database)
        # A retired client id whose session is not emptied, because MQTT_CLIENT_ID names another.
        self._left: str | None = None
        # Whether the broker created a new session.
        self._is_new = False
        # A token to publish after it is in the database.
        self._marker: str | None = None

    @property
    def known(self) -> Known:
        """The known state of the sessions."""
        return self._row.known

    @property
    def is_ours(self) -> bool:
        """Whether the last subscribed session has this client id and this broker."""
        return self.known.is_used and self.known.session_broker == self._broker

    def load(self, connection: Connection) -> Known:
        """Read the state; MQTT_CLIENT_ID replaces the client id if set. Raises Unavailable."""
        self._row.known = self._row.read(connection)
        if self._settings.mqtt_client_id:
            self._use(self._settings.mqtt_client_id)
        return self.known

    def resumed(self, connection: Connection) -> None:
        """Write the current session to a database that may have been replaced.

        Raises Unavailable.
        """
        if not self.known.client_id:
            return  # there is no session yet
        row = self._row.read(connection)
        own = self._settings.mqtt_client_id or row.client_id
        was_foreign, is_foreign = self._row.is_foreign, own != self.known.client_id
        self._row.is_foreign = is_foreign
        if is_foreign and not was_foreign:
            logger.warning(FOREIGN)
        left = row._replace(client_id=own).last
        if left not in (None, self.known.client_id):
            warn_of_left_sessions([left], row.session_broker, self._broker)
        self._row.write(connection, to_bring_back(self.known, row))

    def warn_of_left_sessions(self) -> bool:
        """Warn of sessions whose messages no client receives; return whether there are any."""
        left = {one: None for one in (self.known.last, self._left) if one is not None}
        warn_of_left_sessions(left, self.known.session_broker, self._broker)
        return bool(left)

    def subscribing(
        self, connection: Connection, wanted: Sequence[str], usual: Sequence[str]
    ) -> list[str]:
        """Record filters before they are subscribed; return other filters the session may have.

        If the session is unknown, it may have the filters in `usual`. If the database is
        unavailable, the filters are written later: without a session, messages would be lost.
        """
        before = usual if self.known.filters is None else self.known.filters
        self._row.noted["session_filters"] = json.dumps(sorted({*before, *wanted}))
        with contextlib.suppress(Unavailable):
            self.write(connection)
        return sorted({*before} - {*wanted})

    def connected(self, *, session_present: bool) -> None:
        """Record whether the broker has the session, when it accepts a connection."""
        if session_present:
            if self.known.is_used and not self.is_ours:
                logger.info("The session is at %s. %s", self._broker, other_broker_hint(self.known))
            return
        self._is_new = True
        self._row.noted["session_since"] = clock.now()
        if self.known.handover not in (None, AT_ONCE):
            self.begun()
        if report_new_session(self.known, self._broker):
            self._row.noted["forgotten_at"] = clock.now()

    def subscribed(self, wanted: Sequence[str]) -> None:
        """Record that the session has exactly these filters."""
        if not self.is_ours:
            self._row.noted.setdefault("session_since", clock.now())
        if self._is_new or not self.is_ours or self.known.session_token is None:
            # Drawn only now, so that no marker can be published before the session exists.
            self._row.noted["session_token"] = self._marker = secrets.token_hex(16)
        self._is_new = False
        self._row.noted |= self._in_use(wanted)
        if self._left:
            # The warning was logged; from now on `flask end-session` can store its messages.
            self._row.noted["retired_client_id"] = self._left = None

    def marker(self) -> str | None:
        """Return the token to publish now, once; None if there is none."""
        if self._row.noted:
            return None
        token, self._marker = self._marker, None
        return token

    def evicted(self) -> None:
        """Record that another client uses the client id."""
        self._row.noted["evicted_at"] = clock.now()

    def write(self, connection: Connection) -> None:
        """Write the pending changes to the database. Raises Unavailable; then they stay pending."""
        self._row.write_noted(connection)

    def drained(self, connection: Connection, token: str, wanted: Sequence[str]) -> None:
        """Record that the retired session is drained up to a marker. Raises Unavailable."""
        values = self._in_use(wanted) | {"session_since": clock.now(), "session_token": None}
        values |= {"handover": token}
        with self._database.transaction(connection):
            # Packet ids are only valid within a session.
            queries.deliveries.forget(connection)
            self._row.update(connection, self._row.noted | values)
        self._row.replace(self._row.noted | values)
        self._row.noted = {}

    def ended(self, connection: Connection) -> None:
        """Record that the broker forgot the retired session. Raises Unavailable."""
        self._row.write(connection, {"retired_client_id": None})

    def begun(self, connection: Connection | None = None) -> None:
        """Record, at once or pending, that the marker arrived or is no longer expected."""
        if connection is None:
            self._row.noted["handover"] = AT_ONCE
        else:
            self._row.update(connection, {"handover": AT_ONCE})
        self._row.replace({"handover": AT_ONCE})

    def _use(self, own: str) -> None:
        """Use a client id other than that of the database."""
        retired, handover = self.known.retired_client_id, self.known.handover
        self._row.known = self.known._replace(client_id=own, retired_client_id=None, handover=None)
        if retired == own:
            # Its session fills again, and must be drained again without MQTT_CLIENT_ID.
            self._row.noted["handover"] = None
        elif handover is None:
            self._left = retired
        else:
            changed = {"retired_client_id": retired, "handover": AT_ONCE}
            self._row.replace(changed)

    def _in_use(self, wanted: Sequence[str]) -> dict[str, Any]:
        return {
            "session_client_id": self.known.client_id,
            "session_broker": self._broker,
            "session_filters": json.dumps(sorted(wanted)),
        }
