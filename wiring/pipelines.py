"""The pipelines: the kinds of message, and what applies them."""

from datetime import datetime
from typing import NamedTuple

from database import Database
from ingest.acknowledgements import Acknowledgements
from ingest.certificates import Certificates
from ingest.counting import Source
from ingest.device_messages import OwnCommands
from ingest.payload import EARLIEST, Parser
from ingest.pipeline import Listeners, Pipeline
from ingest.presence import PresenceNotices, StreamPresence
from ingest.reading_writer import ReadingWriter
from ingest.redelivery import RecentDeliveries, Unrecorded
from ingest.rejected import RejectedLimits, RejectedMessages
from streams.own_topics import DeviceTopics
from streams.registry import Streams


class DeviceKinds(NamedTuple):
    """The kinds of message other than readings that devices send."""

    acknowledgements: Acknowledgements
    presence: PresenceNotices
    own_commands: OwnCommands

    @classmethod
    def of(cls, topics: DeviceTopics) -> "DeviceKinds":
        """Return the kinds on these topics."""
        return cls(
            Acknowledgements(topics.ack),
            PresenceNotices(topics.status),
            OwnCommands(topics.control),
        )


def new_pipeline(
    database: Database,
    streams: Streams,
    source: Source,
    listeners: Listeners,
    *,
    limits: RejectedLimits | None = None,
    earliest: datetime = EARLIEST,
    recent: RecentDeliveries | None = None,
) -> Pipeline:
    """Return a new pipeline for the messages of a source.

    `limits` apply to the rejected messages. A device's time before `earliest` is not believed.
    `recent` recognises redeliveries.
    """
    kinds = DeviceKinds.of(streams.device_topics)
    certificates = Certificates(
        is_needed=any(stream.shape.format == "sparkplug" for stream in streams),
        is_kept=not isinstance(recent, Unrecorded),
    )
    return Pipeline(
        database,
        source=source,
        parser=Parser(streams, [*kinds, *StreamPresence.of(streams)], earliest, certificates),
        kinds=[ReadingWriter(database, streams), kinds.acknowledgements, kinds.presence],
        rejected=RejectedMessages(database, limits or RejectedLimits()),
        recent=recent or RecentDeliveries(),
        listeners=listeners,
    )
