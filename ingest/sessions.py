"""What this installation knows of its session at the broker, kept in the database over restarts."""

import contextlib
import json
import logging
import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, update
from sqlalchemy.orm import Session

import queries.ingestion
from config import Settings
from database import Database, Unavailable
from models import DeliveredBatch, Installation
from utils import clock

logger = logging.getLogger(__name__)
AT_ONCE = "-"
"""Instead of a marker's token: there is none to wait for."""


class Known(NamedTuple):
    """The columns of `installation` that are about sessions."""

    client_id: str
    retired_client_id: str | None = None
    handover: str | None = None
    session_client_id: str | None = None
    session_broker: str | None = None
    session_filters: str | None = None
    session_token: str | None = None

    @property
    def filters(self) -> list[str] | None:
        """The filters that the session may have; None where nothing is known."""
        return None if self.session_filters is None else json.loads(self.session_filters)


class SessionMemory:
    """Remembers which session this installation has, at which broker, and what has happened to it."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._broker = str(settings.broker)[:300]
        self.known = Known("")
        self._left: str | None = None
        """A retired client id whose session is not emptied, because MQTT_CLIENT_ID says another one."""
        self._is_new = False
        """Whether the broker has made the session anew."""
        self._marker: str | None = None
        """A token that is to be published once it is in the database."""
        self._news: dict[str, Any] = {}
        """What has happened and is not yet in the database."""

    @property
    def is_ours(self) -> bool:
        """Whether the last session that was subscribed is the one of this client id at this broker."""
        return (self.known.session_client_id, self.known.session_broker) == (self.known.client_id, self._broker)

    def load(self, connection: Connection) -> Known:
        """What is known; the client id is that of MQTT_CLIENT_ID where it is set. Raises Unavailable."""
        with self._database.transaction(connection), Session(connection) as session:
            row = queries.ingestion.installation(session)
            self.known = Known(*(getattr(row, name) for name in Known._fields))
        if self._settings.mqtt_client_id:
            self._use(self._settings.mqtt_client_id)
        return self.known

    def left_behind(self) -> list[str]:
        """The client ids whose sessions may keep messages that nobody fetches."""
        served = (None, self.known.client_id, self.known.retired_client_id)
        return [*dict.fromkeys(one for one in (self.known.session_client_id, self._left) if one not in served)]

    def tell_left_behind(self) -> bool:
        """Warn of the sessions that are left behind; whether there is one."""
        left = self.left_behind()
        for one in left:
            place = self.known.session_broker or self._broker
            logger.warning(
                "The client id has changed: %s still keeps messages in the session %s. "
                "`flask end-session %s`%s takes them into the database and ends it",
                place,
                one,
                one,
                "" if place == self._broker else ", with MQTT_BROKER as it was,",
            )
        return bool(left)

    def subscribing(self, connection: Connection, wanted: Sequence[str], usual: Sequence[str]) -> list[str]:
        """Remember filters before they are subscribed to, and say which others the session may have.

        Those are `usual` where nothing is known of it. A database that cannot be written now is told later: devices
        would lose what they publish while there is no session.
        """
        before = usual if self.known.filters is None else self.known.filters
        self._news["session_filters"] = json.dumps(sorted({*before, *wanted}))
        with contextlib.suppress(Unavailable):
            self.write(connection)
        return sorted({*before} - {*wanted})

    def connected(self, *, session_present: bool) -> None:
        """Note what the broker says of the session when it accepts a connection."""
        if session_present:
            if self._has_moved:
                logger.info("The session is at %s. %s", self._settings.broker, self._elsewhere())
            return
        self._is_new = True
        self._news["session_since"] = clock.now()
        if self.known.handover not in (None, AT_ONCE):
            self.begun()
        self._tell_new_session()

    def subscribed(self, wanted: Sequence[str]) -> None:
        """Note that the session has these filters and no others."""
        if not self.is_ours:
            self._news.setdefault("session_since", clock.now())
        if self._is_new or not self.is_ours or self.known.session_token is None:
            # Drawn now: whoever knew it before could publish it before the session was there.
            self._news["session_token"] = self._marker = secrets.token_hex(16)
        self._is_new = False
        self._news |= self._in_use(wanted)
        if self._left:
            # It has been told; `flask end-session` can fetch what waits there from now on.
            self._news["retired_client_id"] = self._left = None

    def marker(self) -> str | None:
        """The token to publish now, once."""
        if self._news:
            return None
        token, self._marker = self._marker, None
        return token

    def evicted(self) -> None:
        """Note that another client uses the client id."""
        self._news["evicted_at"] = clock.now()

    def write(self, connection: Connection) -> None:
        """Bring what was noted into the database. Raises Unavailable: then it is noted still."""
        if self._news:
            self._write(connection, self._news)
            self._news = {}

    def drained(self, connection: Connection, token: str, wanted: Sequence[str]) -> None:
        """The retired session has given everything up to the marker with this token. Raises Unavailable."""
        self._news |= self._in_use(wanted) | {"session_since": clock.now(), "session_token": None}
        with self._database.transaction(connection):
            # Packet ids mean something within a session only.
            connection.execute(delete(DeliveredBatch))
            connection.execute(update(Installation).values(**self._news, handover=token))
        self._replace(self._news | {"handover": token})
        self._news = {}

    def ended(self, connection: Connection) -> None:
        """The broker has forgotten the retired session. Raises Unavailable."""
        self._write(connection, {"retired_client_id": None})

    def begun(self, connection: Connection | None = None) -> None:
        """The new session has come to its marker, or never will; written in a transaction, or noted."""
        if connection is None:
            self._news["handover"] = AT_ONCE
        else:
            connection.execute(update(Installation).values(handover=AT_ONCE))
        self._replace({"handover": AT_ONCE})

    @property
    def _has_moved(self) -> bool:
        """Whether the last session was one of this client id, at a broker whose address was another one."""
        return self.known.session_client_id == self.known.client_id and not self.is_ours

    def _elsewhere(self) -> str:
        before = self.known.session_broker
        return f"If {before} is another broker, run AutoForge there once more: it still keeps messages for it"

    def _tell_new_session(self) -> None:
        broker = self._settings.broker
        if self.known.session_client_id != self.known.client_id:
            logger.info("New session at %s: it holds what is published from now on", broker)
        elif self._settings.embedded_broker:
            logger.info("New session at %s: AutoForge's own broker keeps nothing over a restart", broker)
        elif self._has_moved:
            # An address may be spelt in many ways, and a broker may have several.
            forgot = f"If it is the one at {self.known.session_broker}, it forgot our session: what waited is gone"
            logger.warning("New session at %s. %s. %s", broker, forgot, self._elsewhere())
        else:
            logger.warning("%s forgot our session: what it had not delivered yet is gone", broker)
            self._news["forgotten_at"] = clock.now()

    def _use(self, own: str) -> None:
        """Use another client id than that of the database."""
        retired, handover = self.known.retired_client_id, self.known.handover
        self.known = self.known._replace(client_id=own, retired_client_id=None, handover=None)
        if retired == own:
            # Its session fills again: without MQTT_CLIENT_ID it is to be emptied once more.
            self._news["handover"] = None
        elif handover is None:
            self._left = retired
        else:
            self.known = self.known._replace(retired_client_id=retired, handover=AT_ONCE)

    def _in_use(self, wanted: Sequence[str]) -> dict[str, Any]:
        return {
            "session_client_id": self.known.client_id,
            "session_broker": self._broker,
            "session_filters": json.dumps(sorted(wanted)),
        }

    def _write(self, connection: Connection, values: dict[str, Any]) -> None:
        with self._database.transaction(connection):
            connection.execute(update(Installation).values(**values))
        self._replace(values)

    def _replace(self, values: dict[str, Any]) -> None:
        self.known = self.known._replace(**{name: values[name] for name in values.keys() & {*Known._fields}})
