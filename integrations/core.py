"""The parts of the backend that integrations may use."""

from typing import NamedTuple

from broker.publisher import Publisher
from config import Settings
from database import Database
from services.submissions import Submissions
from streams.registry import Streams


class Core(NamedTuple):
    """The parts of a backend that endpoints need."""

    settings: Settings
    streams: Streams
    database: Database
    publisher: Publisher
    submissions: Submissions
