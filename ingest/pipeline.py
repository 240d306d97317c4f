"""The pipeline: a batch of messages to committed rows, in one transaction."""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Update, bindparam, delete, update
from sqlalchemy.orm import Session

import queries.devices
import queries.ingestion
from broker.message import Message
from broker.notices import News
from database import BadData, Database, Replaced, Unavailable
from ingest import commands, presence
from ingest.device_messages import Acknowledgement, PresenceNotice
from ingest.message import Applied, Ignored, Reading, Rejection, content_hash
from ingest.payload import EARLIEST, Parsed, Parser
from ingest.reading_writer import ReadingWriter
from ingest.redelivery import WINDOW, Delivery, RecentDeliveries
from ingest.rejected import RejectedMessages, Room
from models import RETAINED, DeliveredBatch, IgnoredCount, IngestStatus
from streams.registry import Streams
from streams.stream import Stream
from utils import clock
from utils.logger import Throttle

logger = logging.getLogger(__name__)
COUNTED = ("received", "stored", "duplicate", "rejected", "ignored", "best_effort", "first_deliveries")
INTERNAL = "internal_error"
UNREAD_SECONDS = 60.0
"""Between two warnings about values of one stream that could not be read; a broken sensor says so all the time."""


@dataclass
class Outcome:
    """What became of a batch; every message received is counted in exactly one of the other four."""

    received: int = 0
    stored: int = 0
    duplicate: int = 0
    rejections: list[Rejection] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)
    parsed: Sequence[Parsed] = ()
    """What was said by the messages that are not known as repeated."""
    repeated: Sequence[Message] = ()
    """Redeliveries of what was committed before, and copies by another filter; they are among the duplicate."""
    best_effort: int = 0
    """How many of the received came at QoS 0."""
    first_deliveries: int = 0
    """How many of the received came without the DUP flag."""
    news: News = field(default_factory=News)
    """What is new in the database."""

    def with_next(self, other: "Outcome") -> "Outcome":
        """The counts and rejections of this and another part of a batch."""
        return Outcome(
            self.received + other.received,
            self.stored + other.stored,
            self.duplicate + other.duplicate,
            self.rejections + other.rejections,
            self.ignored + other.ignored,
        )


class Pipeline:
    """Parses messages and stores them; `source` (`mqtt`, `http`) is the way they came, for the counts.

    After each commit `tell` is called with what is new, and `record` with what became of every message. Rejected
    messages are kept as far as there is `room`.
    """

    def __init__(
        self,
        database: Database,
        streams: Streams,
        source: str,
        tell: Callable[[News], None],
        record: Callable[[Outcome], None] | None = None,
        *,
        room: Room | None = None,
        earliest: datetime = EARLIEST,
        recent: RecentDeliveries | None = None,
    ) -> None:
        self._database = database
        self._streams = streams
        self._parser = Parser(streams, earliest)
        self._writer = ReadingWriter(database, streams)
        self._source = source
        self._tell = tell
        self._record = record
        self._uncertain = False
        """Whether something may have been committed that was not told."""
        self._rejected = RejectedMessages(database, room or Room())
        self._recent = recent or RecentDeliveries()
        self._resumed = False
        self._throttle = Throttle()
        self._unread = Throttle(UNREAD_SECONDS)

    def resume(self, connection: Connection) -> None:
        """Take over from an earlier ingester: learn which of its last deliveries are committed. Raises Unavailable."""
        with self._database.transaction(connection), Session(connection) as session:
            first = queries.ingestion.ingest_status(session)[self._source].first_deliveries
            self._recent.load(first, queries.ingestion.recent_deliveries(session, first, WINDOW))
        self._resumed = True
        # It may have committed what it could not tell any more.
        self._tell(News(everything=True))

    def handle(self, connection: Connection, messages: Sequence[Message]) -> Outcome:
        """Parse and store messages by their topics, in one transaction. Raises Unavailable: nothing is stored then."""
        is_own, roots = self._streams.is_own, self._streams.own_roots
        messages = [one for one in messages if not (one.topic.startswith(roots) and is_own(one.topic))]
        if not messages:
            return Outcome()
        fresh = self._recent.without_repeated(messages)
        repeated: Sequence[Message] = ()
        if len(fresh) < len(messages):
            known = {id(message) for message in fresh}
            repeated = [message for message in messages if id(message) not in known]
        return self._store_apart(connection, [self._parse(message) for message in fresh], repeated)

    def _store_apart(
        self, connection: Connection, parsed: Sequence[Parsed], repeated: Sequence[Message] = ()
    ) -> Outcome:
        """Store; of messages that cannot be stored together store each half, until the one at fault is set aside."""
        try:
            return self._store(connection, parsed, repeated)
        except Exception as error:
            committed = not self._uncertain
            passes = isinstance(error, Unavailable) and not isinstance(error, BadData)
            if committed or passes or not parsed or _is_internal(parsed[0]):
                raise
            logger.exception("%d messages cannot be stored together", len(parsed))
        if len(parsed) == 1:
            said = Rejection(None, INTERNAL, "AutoForge failed to store it; its log says how", parsed[0].message)
            return self._store_apart(connection, [said], repeated)
        middle = len(parsed) // 2
        first = self._store_apart(connection, parsed[:middle], repeated)
        return first.with_next(self._store_apart(connection, parsed[middle:]))

    def handle_for(
        self,
        connection: Connection,
        stream: Stream,
        messages: Sequence[Message],
        device_id: str | None,
        level: str | None,
    ) -> Outcome:
        """The same for messages that are known to be of one stream; for HTTP."""
        parsed = [self._parser.parse_for(stream, message, device_id, level) for message in messages]
        return self._store(connection, parsed)

    def pass_over(
        self, connection: Connection, messages: Sequence[Message], beside: Callable[[Connection], None]
    ) -> None:
        """Take messages for repetitions, and have `beside` write in the same transaction. Raises Unavailable."""
        outcome = Outcome(len(messages), 0, len(messages), repeated=messages)
        outcome.first_deliveries = self._recent.first(messages)
        deliveries = [(message.packet_id, content_hash(message)) for message in messages if message.packet_id]
        with self._database.transaction(connection):
            self._count(connection, outcome, clock.now())
            self._recent.record(connection, outcome.first_deliveries, deliveries)
            beside(connection)
        self._recent.committed(outcome.first_deliveries, deliveries)
        if self._record is not None:
            self._record(outcome)

    def forget_deliveries(self, connection: Connection) -> None:
        """Forget which deliveries are committed, for a session that gives packet ids anew. Raises Unavailable."""
        with self._database.transaction(connection):
            connection.execute(delete(DeliveredBatch))
        self._recent.clear()

    def _parse(self, message: Message) -> Parsed:
        try:
            return self._parser.parse(message)
        except Exception:
            logger.exception("A message on %s could not be parsed; it is kept in rejected_messages", message.topic)
            return Rejection(None, INTERNAL, "AutoForge failed to read it; its log says how", message)

    def _store(self, connection: Connection, parsed: Sequence[Parsed], repeated: Sequence[Message] = ()) -> Outcome:
        messages = [*[item.message for item in parsed], *repeated]
        outcome = Outcome(len(messages), 0, len(repeated), parsed=parsed, repeated=repeated)
        kinds: defaultdict[type, list[Any]] = defaultdict(list)
        for item in parsed:
            kinds[type(item)].append(item)
        readings: list[Reading] = kinds[Reading]
        outcome.rejections, outcome.ignored = kinds[Rejection], kinds[Ignored]
        outcome.best_effort = [one.packet_id for one in messages].count(0) if self._source == "mqtt" else 0
        outcome.first_deliveries = self._recent.first(messages)
        moment = clock.now()
        outcome.news.everything, self._uncertain = self._uncertain, True
        with self._database.transaction(connection):
            self._write_readings(connection, readings, moment, outcome)
            self._apply_device_messages(connection, kinds, moment, outcome)
            deliveries = _unkeyed(kinds, outcome.rejections)
            _ignore_repeated(outcome)
            if outcome.rejections:
                self._rejected.write(connection, outcome.rejections, moment)
            self._count(connection, outcome, moment)
            self._recent.record(connection, outcome.first_deliveries, deliveries)
        self._uncertain = False
        self._recent.committed(outcome.first_deliveries, deliveries)
        self._tell(outcome.news)
        if self._record is not None:
            self._record(outcome)
        for rejection in outcome.rejections:
            line = f"Rejected a message on {rejection.message.topic!r}: {rejection.reason}: {rejection.sentence}"
            self._throttle.warn(logger, rejection.reason, line)
        self._warn_of_unread(readings)
        return outcome

    def _warn_of_unread(self, readings: Sequence[Reading]) -> None:
        for item in readings:
            if item.unread:
                line = f"{item.stream.name}: {item.device_id}: stored without a value: {'; '.join(item.unread)}"
                self._unread.warn(logger, item.stream.name, line)

    def _write_readings(
        self, connection: Connection, readings: Sequence[Reading], moment: datetime, outcome: Outcome
    ) -> None:
        written = self._writer.write(connection, readings, moment)
        outcome.stored += written.stored
        outcome.duplicate += written.duplicate
        outcome.rejections += written.rejections
        outcome.news.readings = {name: [moment] for name in written.streams}

    @staticmethod
    def _apply_device_messages(
        connection: Connection, kinds: Mapping[type, list[Any]], moment: datetime, outcome: Outcome
    ) -> None:
        said, notices = kinds[Acknowledgement], kinds[PresenceNotice]
        acknowledged = commands.acknowledge(connection, said, moment) if said else Applied()
        announced = presence.announce(connection, notices, moment) if notices else Applied()
        outcome.news.commands, outcome.news.devices = acknowledged.changed, announced.changed
        for applied in (acknowledged, announced):
            outcome.stored += applied.stored
            outcome.duplicate += applied.repeated
            outcome.rejections += applied.rejections

    def _count(self, connection: Connection, outcome: Outcome, moment: datetime) -> None:
        counts = (len(outcome.rejections), len(outcome.ignored), outcome.best_effort, outcome.first_deliveries)
        counted = (outcome.received, outcome.stored, outcome.duplicate, *counts)
        more = {f"more_{name}": count for name, count in zip(COUNTED, counted, strict=True)}
        values = {"way": self._source, "moment": moment, **more}
        if self._resumed:
            values["before"] = self._recent.first_deliveries
        written = connection.execute(_counting(alone=self._resumed), values)
        if outcome.received and not written.rowcount:
            raise Replaced("it is not as this process left it")
        reasons = Counter(ignored.reason for ignored in outcome.ignored)
        for reason, count in sorted(reasons.items()):
            self._database.add(connection, IgnoredCount, {"source": self._source, "reason": reason}, {"count": count})


@lru_cache(maxsize=2)
def _counting(*, alone: bool) -> Update:
    # Kept, because building the statement takes longer than running it.
    columns = IngestStatus.metadata.tables["ingest_status"].c
    more = {name: columns[name] + bindparam(f"more_{name}") for name in COUNTED}
    statement = update(IngestStatus).where(columns.source == bindparam("way"))
    if alone:
        # Nobody else counts these: another number is that of another database, such as a restored backup.
        statement = statement.where(columns.first_deliveries == bindparam("before"))
    return statement.values(**more, last_batch_at=bindparam("moment"))


def _is_internal(item: Parsed) -> bool:
    return isinstance(item, Rejection) and item.reason == INTERNAL


def _unkeyed(kinds: Mapping[type, Sequence[Any]], rejections: Sequence[Rejection]) -> list[Delivery]:
    """The deliveries whose repetition no key in a table would absorb; `rejections` are also those of the database."""
    unkeyed = [reading.message for reading in kinds[Reading] if not reading.own_time]
    others = [items for kind, items in kinds.items() if kind not in (Reading, Rejection)]
    unkeyed += [item.message for items in (*others, rejections) for item in items]
    return [(message.packet_id, content_hash(message)) for message in unkeyed if message.packet_id]


def _ignore_repeated(outcome: Outcome) -> None:
    """Of old messages that a broker repeats at every connection, reject none: each was judged when it was new."""
    repeated = [rejection for rejection in outcome.rejections if rejection.message.retained]
    if repeated:
        outcome.rejections = [rejection for rejection in outcome.rejections if not rejection.message.retained]
        outcome.ignored += [Ignored(RETAINED, rejection.message) for rejection in repeated]
