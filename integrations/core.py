"""What an integration may use of the backend."""

from typing import NamedTuple

from broker.publisher import Publisher
from config import Settings
from database import Database
from services.submissions import Submissions
from streams.registry import Streams


class Core(NamedTuple):
    """The parts of a backend that paths are made of."""

    settings: Settings
    streams: Streams
    database: Database
    publisher: Publisher
    submissions: Submissions
