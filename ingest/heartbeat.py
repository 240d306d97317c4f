"""The heartbeat of the ingester: its state, which all processes can read."""

import logging
from datetime import datetime

from sqlalchemy import Connection

import queries.ingest_status
from broker.state import ConnectionState
from database import Database, Unavailable
from ingest.meter import Meter
from models import MAX_PROBLEM
from utils import clock
from utils.logger import Throttle
from utils.process import own_name

logger = logging.getLogger(__name__)


class Heartbeat:
    """Writes the state of the ingester to `ingest_status`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Why the last batch could not be committed, and since when.
        self._waiting: tuple[str, datetime] | None = None
        self._waiting_messages = 0
        self._meter = Meter()
        self._steps = clock.Steps()
        self._throttle = Throttle(seconds=10)

    def stored(self, messages: int, seconds: float) -> None:
        """Record a stored batch."""
        self._waiting, self._waiting_messages = None, 0
        self._meter.add(messages, seconds)

    def wait(self, messages: int, reason: str) -> None:
        """Record a batch that could not be stored."""
        problem = f"{messages} messages wait for the database: {reason}"
        self._throttle.warn(logger, "store", problem)
        self._waiting = (problem, self._waiting[1] if self._waiting else clock.now())
        self._waiting_messages = messages

    def beat(self, connection: Connection, state: ConnectionState | None) -> None:
        """Write the heartbeat; without a state, write that this process stopped ingesting."""
        self._steps.look()
        if state is None:
            problem, since = "no process ingests", clock.now()
        elif state.problem is None and self._waiting is not None:
            problem, since = self._waiting
        else:
            problem, since = state.problem or "", state.changed_at
        status = {
            "holder": None if state is None else own_name(),
            "heartbeat_at": clock.now(),
            "connected": state is not None and state.connected,
            "subscribed": state is not None and state.subscribed,
            "problem": problem[:MAX_PROBLEM] or None,
            "changed_at": since,
            "waiting": self._waiting_messages,
            **self._meter.figures()._asdict(),
        }
        try:
            with self._database.transaction(connection):
                queries.ingest_status.write(connection, "mqtt", status)
        except Unavailable as error:
            self._throttle.warn(logger, "heartbeat", f"The database is unavailable: {error}")
