"""What integrations may use of the backend, and what they add to it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from flask_openapi.blueprint import APIBlueprint

from broker.publisher import Publisher
from config import Settings
from database import Database
from services.submissions import Submissions
from services.verification import Checks
from streams.registry import Streams


class Core(NamedTuple):
    """The parts of a backend that endpoints need."""

    settings: Settings
    streams: Streams
    database: Database
    publisher: Publisher
    submissions: Submissions


class Integration(NamedTuple):
    """What an integration adds to the backend."""

    endpoints: Callable[[Core], APIBlueprint | None]
    """Returns its endpoints, or None without a stream that fits."""
    body_limits: Mapping[str, int] = MappingProxyType({})
    """The most bytes that a body may have, by rule; a rule that takes many readings has none."""
    checks: Checks | None = None
    """Its part of `flask verify`."""
