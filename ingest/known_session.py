"""What the database knows of sessions at the broker, and what follows from it."""

import json
import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.orm import Session

import queries.installation
from database import Database

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
    session_since: datetime | None = None
    session_token: str | None = None

    @property
    def filters(self) -> list[str] | None:
        """The filters that the session may have; None where nothing is known."""
        return None if self.session_filters is None else json.loads(self.session_filters)

    @property
    def is_used(self) -> bool:
        """Whether the last session was one of the client id in use."""
        return self.session_client_id == self.client_id

    @property
    def last(self) -> str | None:
        """The client id of the last session, where it is neither in use nor being retired."""
        last = self.session_client_id
        return None if last in (self.client_id, self.retired_client_id) else last


HANDOVER = {"retired_client_id", "handover"}
"""The columns that belong to the client id of the database."""


def read(database: Database, connection: Connection) -> Known:
    """What the database says. Raises Unavailable."""
    with database.transaction(connection), Session(connection) as session:
        row = queries.installation.installation(session)
        return Known(*(getattr(row, name) for name in Known._fields))


def tell_left(left: Iterable[str], before: str | None, now: str) -> None:
    """Warn of sessions that are left behind; `before` is the broker of the last session, `now` that of the next."""
    broker = before or now
    there = "" if broker == now else ", with MQTT_BROKER as it was,"
    for one in left:
        logger.warning(
            "The client id has changed: %s still keeps messages in the session %s. "
            "`flask end-session %s`%s takes them into the database and ends it",
            broker,
            one,
            one,
            there,
        )


def elsewhere(known: Known) -> str:
    """What a broker at another address may still have."""
    return f"If {known.session_broker} is another broker, run AutoForge there once more: it still keeps messages for it"


def tell_new(known: Known, broker: str) -> bool:
    """Tell of a session that a broker has made anew; whether it is certain that the broker forgot one."""
    if not known.is_used:
        logger.info("New session at %s: it holds what is published from now on", broker)
    elif known.session_broker != broker:
        # An address may be spelt in many ways, and a broker may have several.
        forgot = f"If it is the one at {known.session_broker}, it forgot our session: what waited is gone"
        logger.warning("New session at %s. %s. %s", broker, forgot, elsewhere(known))
    else:
        logger.warning("%s forgot our session: what it had not delivered yet is gone", broker)
        return True
    return False


def to_bring_back(used: Known, row: Known) -> dict[str, Any]:
    """What a database that was restored, or made anew, has to learn of the session in use."""
    values: dict[str, Any] = {}
    if used.is_used:
        values = {name: getattr(used, name) for name in Known._fields if name.startswith("session_")}
        # Another process may have subscribed meanwhile.
        more = row.filters or () if row.session_client_id == used.client_id else ()
        values["session_filters"] = json.dumps(sorted({*(used.filters or ()), *more}))
    # A handover that begins anew ends the session in use; one that another process has made stays made.
    if row.client_id == used.client_id and (used.handover or not row.handover):
        values |= {name: getattr(used, name) for name in HANDOVER}
    return values
