"""SELECTs of what came in, and of this installation."""

from collections.abc import Sequence

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from models import EMPTY, RETAINED, Analysed, DeliveredBatch, IgnoredCount, IngestStatus, Installation
from queries.reader import Reader


def ignored_counts(session: Session, source: str) -> dict[str, int]:
    """How many messages that came in by one way were ever ignored, by reason; 0 for those that never were."""
    counts = session.scalars(select(IgnoredCount).where(IgnoredCount.source == source).order_by(IgnoredCount.reason))
    return {RETAINED: 0, EMPTY: 0} | {counted.reason: counted.count for counted in counts}


def ingest_status(session: Session) -> dict[str, IngestStatus]:
    """The state of every way in, by its name (`mqtt`, `http`)."""
    return {status.source: status for status in session.scalars(select(IngestStatus))}


def installation(session: Session) -> Installation:
    """What belongs to this database: client ids, and what is known of the session at the broker."""
    return session.scalars(select(Installation)).one()


def client_id(reader: Reader) -> str:
    """The MQTT client id of the ingester of this database."""
    return reader.execute(select(Installation.client_id)).scalar_one()


def notices_topic(reader: Reader) -> str:
    """The topic on which the processes of this database tell each other what is new."""
    return f"autoforge/{reader.execute(select(Installation.notices_id)).scalar_one()}/notices"


def recent_deliveries(session: Session, first: int, window: int) -> Sequence[DeliveredBatch]:
    """The delivered batches among the last `window` of `first` first deliveries, oldest first."""
    query = select(DeliveredBatch).where(DeliveredBatch.first_deliveries >= first - window)
    return session.scalars(query.order_by(DeliveredBatch.id)).all()


def analysed(reader: Reader, stream: str) -> int | None:
    """The highest id of a reading whose analysis is published, or None."""
    return reader.execute(select(Analysed.reading_id).where(Analysed.stream == stream)).scalar()


def ping(reader: Reader) -> None:
    """Ask the database for a sign of life."""
    reader.execute(text("SELECT 1"))
