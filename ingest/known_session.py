"""The state of the sessions at the broker that is stored in the database."""

import json
import logging
import shlex
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

import queries.installation
from database import Database

logger = logging.getLogger(__name__)
AT_ONCE = "-"
"""In place of a marker's token: there is no marker to wait for."""


class Known(NamedTuple):
    """The columns of `installation` that describe sessions."""

    client_id: str
    retired_client_id: str | None = None
    handover: str | None = None
    session_client_id: str | None = None
    session_broker: str | None = None
    session_filters: str | None = None
    session_since: datetime | None = None
    session_token: str | None = None

    @property
    def filters(self) -> list[str] | None:
        """The filters that the session may have; None if unknown."""
        return None if self.session_filters is None else json.loads(self.session_filters)

    @property
    def is_used(self) -> bool:
        """Whether the last session has the current client id."""
        return self.session_client_id == self.client_id

    @property
    def last(self) -> str | None:
        """The client id of the last session, if it is neither current nor being retired."""
        last = self.session_client_id
        return None if last in (self.client_id, self.retired_client_id) else last


HANDOVER = {"retired_client_id", "handover"}
"""The columns that belong to the client id of the database."""


def read(database: Database, connection: Connection) -> Known:
    """Read the state of the sessions. Raises Unavailable."""
    with database.transaction(connection):
        row = queries.installation.installation(connection)
        return Known(*(getattr(row, name) for name in Known._fields))


def warn_of_left_sessions(left: Iterable[str], before: str | None, now: str) -> None:
    """Warn of sessions left behind at the broker `before`, or at the next broker `now`."""
    broker = before or now
    there = "" if broker == now else ", with MQTT_BROKER as it was,"
    for client_id in left:
        logger.warning(
            "The client id has changed: %s still keeps messages in the session %s. "
            "`flask end-session %s`%s stores them in the database and ends it",
            broker,
            client_id,
            _argument(client_id),
            there,
        )


def _argument(text: str) -> str:
    """Return a text as an argument of a shell command, even if it begins as an option does."""
    return f"{'-- ' if text.startswith('-') else ''}{shlex.quote(text)}"


def other_broker_hint(known: Known) -> str:
    """Return a hint about the messages that a broker at the previous address may keep."""
    old = known.session_broker
    return f"If {old} is another broker, run AutoForge there once more: it still keeps messages"


FORGOT = "forgot our session: what it had not delivered yet is gone"
WHY_FORGOTTEN = "It does not keep sessions over a restart, or another client used our client id"


def report_new_session(known: Known, broker: str) -> bool:
    """Log that the broker created a new session; return whether it surely forgot the old one."""
    if not known.is_used:
        logger.info("New session at %s: it receives what is published from now on", broker)
    elif known.session_broker != broker:
        # A broker may have several addresses, each with several spellings.
        same = f"If it is the one at {known.session_broker}"
        forgot = f"{same}, it {FORGOT}"
        logger.warning("New session at %s. %s. %s", broker, forgot, other_broker_hint(known))
    else:
        logger.warning("%s %s. %s", broker, FORGOT, WHY_FORGOTTEN)
        return True
    return False


def to_bring_back(used: Known, row: Known) -> dict[str, Any]:
    """Return the columns about the current session that a restored or new database lacks."""
    values: dict[str, Any] = {}
    if used.is_used:
        values = {
            name: getattr(used, name) for name in Known._fields if name.startswith("session_")
        }
        # Another process may have subscribed in the meantime.
        more = row.filters or () if row.session_client_id == used.client_id else ()
        values["session_filters"] = json.dumps(sorted({*(used.filters or ()), *more}))
    # A restarted handover would end the current session; one done by another process stays done.
    if row.client_id == used.client_id and (used.handover or not row.handover):
        values |= {name: getattr(used, name) for name in HANDOVER}
    return values
