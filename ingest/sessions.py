"""What this installation knows of its session at the broker, kept in the database over restarts."""

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
from ingest.known_session import AT_ONCE, Known, elsewhere, tell_left, tell_new, to_bring_back
from ingest.session_row import SessionRow
from utils import clock

logger = logging.getLogger(__name__)


class SessionMemory:
    """Remembers which session this installation has, at which broker, and what has happened to it."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._broker = str(settings.broker)[:300]
        self._database = database
        self._row = SessionRow(database)
        self._left: str | None = None
        """A retired client id whose session is not emptied, because MQTT_CLIENT_ID says another one."""
        self._is_new = False
        """Whether the broker has made the session anew."""
        self._marker: str | None = None
        """A token that is to be published once it is in the database."""

    @property
    def known(self) -> Known:
        """What is known of sessions."""
        return self._row.known

    @property
    def is_ours(self) -> bool:
        """Whether the last session that was subscribed is the one of this client id at this broker."""
        return self.known.is_used and self.known.session_broker == self._broker

    def load(self, connection: Connection) -> Known:
        """What is known; the client id is that of MQTT_CLIENT_ID where it is set. Raises Unavailable."""
        self._row.known = self._row.read(connection)
        if self._settings.mqtt_client_id:
            self._use(self._settings.mqtt_client_id)
        return self.known

    def resumed(self, connection: Connection) -> None:
        """Have a database that was read anew, perhaps another file, know the session in use. Raises Unavailable."""
        if not self.known.client_id:
            return  # nothing is in use yet
        row = self._row.read(connection)
        own = self._settings.mqtt_client_id or row.client_id
        was_foreign, is_foreign = self._row.is_foreign, own != self.known.client_id
        self._row.is_foreign = is_foreign
        if is_foreign and not was_foreign:
            logger.warning(
                "The database has another client id than before, as that of another installation has: the session of "
                "before is used until the next start, which names it"
            )
        left = row._replace(client_id=own).last
        if left not in (None, self.known.client_id):
            tell_left([left], row.session_broker, self._broker)
        self._row.write(connection, to_bring_back(self.known, row))

    def tell_left_behind(self) -> bool:
        """Warn of sessions that may keep messages that nobody fetches; whether there is one."""
        left = {one: None for one in (self.known.last, self._left) if one is not None}
        tell_left(left, self.known.session_broker, self._broker)
        return bool(left)

    def subscribing(self, connection: Connection, wanted: Sequence[str], usual: Sequence[str]) -> list[str]:
        """Remember filters before they are subscribed to, and say which others the session may have.

        Those are `usual` where nothing is known of it. A database that cannot be written now is told later: devices
        would lose what they publish while there is no session.
        """
        before = usual if self.known.filters is None else self.known.filters
        self._row.noted["session_filters"] = json.dumps(sorted({*before, *wanted}))
        with contextlib.suppress(Unavailable):
            self.write(connection)
        return sorted({*before} - {*wanted})

    def connected(self, *, session_present: bool) -> None:
        """Note what the broker says of the session when it accepts a connection."""
        if session_present:
            if self.known.is_used and not self.is_ours:
                logger.info("The session is at %s. %s", self._broker, elsewhere(self.known))
            return
        self._is_new = True
        self._row.noted["session_since"] = clock.now()
        if self.known.handover not in (None, AT_ONCE):
            self.begun()
        if tell_new(self.known, self._broker):
            self._row.noted["forgotten_at"] = clock.now()

    def subscribed(self, wanted: Sequence[str]) -> None:
        """Note that the session has these filters and no others."""
        if not self.is_ours:
            self._row.noted.setdefault("session_since", clock.now())
        if self._is_new or not self.is_ours or self.known.session_token is None:
            # Drawn now: whoever knew it before could publish it before the session was there.
            self._row.noted["session_token"] = self._marker = secrets.token_hex(16)
        self._is_new = False
        self._row.noted |= self._in_use(wanted)
        if self._left:
            # It has been told; `flask end-session` can fetch what waits there from now on.
            self._row.noted["retired_client_id"] = self._left = None

    def marker(self) -> str | None:
        """The token to publish now, once."""
        if self._row.noted:
            return None
        token, self._marker = self._marker, None
        return token

    def evicted(self) -> None:
        """Note that another client uses the client id."""
        self._row.noted["evicted_at"] = clock.now()

    def write(self, connection: Connection) -> None:
        """Bring what was noted into the database. Raises Unavailable: then it is noted still."""
        self._row.write_noted(connection)

    def drained(self, connection: Connection, token: str, wanted: Sequence[str]) -> None:
        """The retired session has given everything up to the marker with this token. Raises Unavailable."""
        values = self._in_use(wanted) | {"session_since": clock.now(), "session_token": None}
        values |= {"handover": token}
        with self._database.transaction(connection):
            # Packet ids mean something within a session only.
            queries.deliveries.forget(connection)
            self._row.update(connection, self._row.noted | values)
        self._row.replace(self._row.noted | values)
        self._row.noted = {}

    def ended(self, connection: Connection) -> None:
        """The broker has forgotten the retired session. Raises Unavailable."""
        self._row.write(connection, {"retired_client_id": None})

    def begun(self, connection: Connection | None = None) -> None:
        """The new session has come to its marker, or never will; written in a transaction, or noted."""
        if connection is None:
            self._row.noted["handover"] = AT_ONCE
        else:
            self._row.update(connection, {"handover": AT_ONCE})
        self._row.replace({"handover": AT_ONCE})

    def _use(self, own: str) -> None:
        """Use another client id than that of the database."""
        retired, handover = self.known.retired_client_id, self.known.handover
        self._row.known = self.known._replace(client_id=own, retired_client_id=None, handover=None)
        if retired == own:
            # Its session fills again: without MQTT_CLIENT_ID it is to be emptied once more.
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
