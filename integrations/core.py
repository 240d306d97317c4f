"""What integrations may use of the backend, and what they add to it.

Beside these parts, an integration imports modules of `routes/`, `services/` and `queries/` as the
core does; an endpoint that may read many rows calls `take_turn()` of `routes/heavy.py`.
"""

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
    """The parts of a backend that endpoints need.

    If an integration needs another part, add it here and in `_add_integrations` of
    `wiring/web.py`.
    """

    settings: Settings
    streams: Streams
    database: Database
    publisher: Publisher
    submissions: Submissions


class Integration(NamedTuple):
    """What an integration adds to the backend."""

    endpoints: Callable[[Core], APIBlueprint | None]
    """Returns a blueprint with its endpoints, or None if no declared stream fits."""
    body_limits: Mapping[str, int] = MappingProxyType({})
    """The most bytes of a request body, by Flask's URL rule, such as `/api/mqtt/publish`.

    An endpoint that takes many readings has no limit here.
    """
    checks: Checks | None = None
    """Its checks in `flask verify`: yields a `Result` for each; see `services/verification.py`."""
