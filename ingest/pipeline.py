"""The pipeline: turn a batch of messages into committed rows, in one transaction."""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

import queries.deliveries
import queries.ingest_status
from broker.message import Message
from broker.notifier import ChangeSet
from database import BadData, Database, Unavailable
from ingest.batches import BatchParser, internal, is_internal
from ingest.counting import OutcomeCounter, Source
from ingest.kinds import Kind
from ingest.message import Ignored, Parsed, Reading, Rejection, Several
from ingest.outcome import Outcome
from ingest.outcome_log import OutcomeLog
from ingest.payload import Parser
from ingest.redelivery import RecentDeliveries
from ingest.rejected import RejectedMessages
from ingest.several import settle
from streams.stream import Stream
from utils import clock

logger = logging.getLogger(__name__)


class Listeners(NamedTuple):
    """The functions called after each commit."""

    notify: Callable[[ChangeSet], None]
    """Called with the changes in the database."""
    record: Callable[[Outcome], None] = lambda _: None
    """Called with the outcome of the batch."""


class Pipeline:
    """Parses messages, lets their kinds apply them, and keeps rejected messages."""

    def __init__(
        self,
        database: Database,
        *,
        source: Source,
        parser: Parser,
        kinds: Sequence[Kind],
        rejected: RejectedMessages,
        recent: RecentDeliveries,
        listeners: Listeners,
    ) -> None:
        self._database = database
        self._source = source
        self._parser = parser
        self._batches = BatchParser(parser)
        self._certificates = parser.certificates
        self._kinds = kinds
        self._rejected = rejected
        self._recent = recent
        self._listeners = listeners
        self._counter = OutcomeCounter(database, source)
        # Whether a commit without a change notification is possible.
        self._uncertain = False
        self._resumed = False
        self._log = OutcomeLog()

    def resume(self, connection: Connection) -> None:
        """Read which of the last deliveries an earlier ingester committed. Raises Unavailable."""
        with self._database.transaction(connection):
            first = queries.ingest_status.first_deliveries(connection, self._source)
            self._recent.resume(connection, first)
            self._certificates.read(connection)
        self._resumed = True
        # The earlier ingester may have died between a commit and its notification.
        self._listeners.notify(ChangeSet(everything=True))

    def handle(self, connection: Connection, messages: Sequence[Message]) -> Outcome:
        """Parse messages by their topics, and store them in one transaction.

        Raises Unavailable; then nothing is stored.
        """
        messages = self._parser.concerning(messages)
        if not messages:
            return Outcome()
        if not self._certificates.is_read:
            with self._database.transaction(connection):
                self._certificates.read(connection)
        self._certificates.begin(messages)
        fresh, repeated = self._recent.filter(messages)
        outcome = Outcome()
        for parsed in self._batches.portions(fresh):
            if parsed or repeated:
                outcome = outcome.with_next(self._store_apart(connection, parsed, repeated))
                repeated = ()
        return outcome

    def handle_for(
        self,
        connection: Connection,
        stream: Stream,
        messages: Sequence[Message],
        device_id: str | None,
        level: str | None,
    ) -> Outcome:
        """Do the same for messages that are known to belong to a stream; for HTTP."""
        parsed = [self._parser.parse_for(stream, one, device_id, level) for one in messages]
        return self._store(connection, parsed)

    def pass_over(
        self,
        connection: Connection,
        messages: Sequence[Message],
        callback: Callable[[Connection], None],
    ) -> None:
        """Count messages as repeated; call `callback` in the transaction. Raises Unavailable."""
        outcome = Outcome(len(messages), 0, len(messages), repeated=messages)
        with self._recent.committing(messages) as batch, self._database.transaction(connection):
            self._counter.add(connection, outcome, batch.first, clock.now(), self._known_first())
            self._recent.record(connection, batch, messages)
            callback(connection)
        self._listeners.record(outcome)

    def forget_deliveries(self, connection: Connection) -> None:
        """Forget the deliveries of a session that was replaced. Raises Unavailable."""
        with self._database.transaction(connection):
            queries.deliveries.forget(connection)
        self._recent.forget()

    def _known_first(self) -> int | None:
        """Return how many first deliveries there were, if no other process may have more."""
        return self._recent.first_deliveries if self._resumed else None

    def _store_apart(
        self, connection: Connection, parsed: Sequence[Parsed], repeated: Sequence[Message] = ()
    ) -> Outcome:
        """Store messages; if that fails, store each half.

        The message that causes the failure is finally alone, and is set aside.
        """
        try:
            return self._store(connection, parsed, repeated)
        except Exception as error:
            committed = not self._uncertain
            is_outage = isinstance(error, Unavailable) and not isinstance(error, BadData)
            if committed or is_outage or not parsed or is_internal(parsed[0]):
                raise
            logger.exception("%d messages cannot be stored together", len(parsed))
        if len(parsed) == 1:
            return self._store_apart(connection, [internal("store", parsed[0].message)], repeated)
        middle = len(parsed) // 2
        first = self._store_apart(connection, parsed[:middle], repeated)
        return first.with_next(self._store_apart(connection, parsed[middle:]))

    def _store(
        self, connection: Connection, parsed: Sequence[Parsed], repeated: Sequence[Message] = ()
    ) -> Outcome:
        messages = [*[item.message for item in parsed], *repeated]
        # What the database may have refused is not written again.
        sound = [item.message for item in parsed if not is_internal(item)]
        outcome = Outcome(len(messages), 0, len(repeated), parsed=parsed, repeated=repeated)
        outcome.changes.everything, self._uncertain = self._uncertain, True
        now = clock.now()
        with self._recent.committing(messages) as batch, self._database.transaction(connection):
            unkeyed = self._apply(connection, outcome, now)
            unkeyed += self._certificates.write(connection, sound)
            if kept := outcome.kept_raw():
                self._rejected.write(connection, kept, now)
            self._counter.add(connection, outcome, batch.first, now, self._known_first())
            self._recent.record(connection, batch, unkeyed)
        self._certificates.committed(sound)
        self._uncertain = False
        self._listeners.notify(outcome.changes)
        self._listeners.record(outcome)
        self._log.write(outcome)
        return outcome

    def _apply(self, connection: Connection, outcome: Outcome, now: datetime) -> list[Message]:
        """Let each kind apply its messages; return the messages that no unique key identifies."""
        items: defaultdict[type, list[Any]] = defaultdict(list)
        for item in outcome.parsed:
            items[type(item)].append(item)
        several: list[Several] = items[Several]
        if several:
            items[Reading] = list(outcome.parsed_readings())
        outcome.rejections, outcome.ignored = items[Rejection], items[Ignored]
        unkeyed = [item.message for item in outcome.ignored]
        for kind in self._kinds:
            if of_kind := items[kind.parsed]:
                applied = kind.apply(connection, of_kind, now)
                outcome.add(applied)
                unkeyed += applied.unkeyed
                if kind.parsed is Reading:
                    settle(outcome, several, applied)
        unkeyed += [rejection.message for rejection in outcome.rejections]
        outcome.ignore_retained()
        return list({id(message): message for message in unkeyed}.values())
