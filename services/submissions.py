"""Accept readings over HTTP from devices without MQTT, through the same pipeline."""

import contextlib
import random
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from broker.message import Message
from database import Database, Unavailable
from ingest.json_payloads import MAX_READINGS
from ingest.message import Reading, Rejection, Several
from ingest.outcome import Outcome, ReadingCounts
from ingest.pipeline import Pipeline
from services.keyed_requests import KeyedRequests
from streams.stream import Stream
from utils import json_arrays, lenient_json
from utils.clock import StrictClock
from utils.lenient_json import BOM

T = TypeVar("T")
ATTEMPTS = 6
PAUSE_SECONDS = 0.05
_RAW = msgspec.json.Decoder(msgspec.Raw)


class BadSubmission(Exception):
    """The whole body is unusable; the text says why."""


class Receipt(NamedTuple):
    """The outcome of a submission; `rejections` come with the index of the reading."""

    stored: int
    duplicate: int
    rejections: list[tuple[int, Rejection]]
    readings: list[Reading | None]
    """The readings in the order of the submission; None for a rejected or ignored one."""
    ignored: int = 0
    of_several: ReadingCounts | None = None
    """The counts of the readings, if a payload had more than one."""


class Submissions:
    """Accepts readings for any stream."""

    def __init__(self, database: Database, pipeline: Pipeline) -> None:
        self._database = database
        self._pipeline = pipeline
        self._clock = StrictClock()
        self._keyed = KeyedRequests(database)

    def submit(
        self,
        stream: Stream,
        body: bytes,
        device_id: str | None,
        metric: str | None,
        key: str | None = None,
    ) -> Receipt:
        """Store one payload or an array of them, as `store` does.

        Raises BadSubmission, KeyReused, Unavailable.
        """
        return self.store(stream, payloads(body), device_id, metric, key)

    def store(
        self,
        stream: Stream,
        given: Sequence[bytes],
        device_id: str | None = None,
        metric: str | None = None,
        key: str | None = None,
    ) -> Receipt:
        """Store payloads. Raises BadSubmission, KeyReused, Unavailable.

        `device_id` and `metric` replace the levels of the topic that HTTP does not have. With an
        idempotency `key`, payloads that were stored before are duplicates.
        """
        level = self._level(stream, metric)
        topic = stream.topic_of(device_id or "", level or "")
        with self._database.write() as connection:
            if key is None:
                messages = [Message(topic, payload, self._clock.now()) for payload in given]
            else:
                own = (connection, stream.name, key, topic, given)
                messages = self._retried(lambda: self._keyed.messages(*own))
            outcome = self._retried(
                lambda: self._pipeline.handle_for(connection, stream, messages, device_id, level)
            )
        return _receipt(outcome, messages)

    @staticmethod
    def _retried(store: Callable[[], T]) -> T:
        # A database ends one of two deadlocked writers, which is then to retry; MariaDB often does.
        for attempt in range(1, ATTEMPTS):
            with contextlib.suppress(Unavailable):
                return store()
            # Random, to avoid another deadlock.
            pause = random.uniform(0, PAUSE_SECONDS * attempt)  # noqa: S311 - no secret
            time.sleep(pause)
        return store()

    @staticmethod
    def _level(stream: Stream, metric: str | None) -> str | None:
        if metric is None:
            return None
        by_level = stream.topic.metric_levels.items()
        levels = {name: level for level, names in by_level for name in names}
        if not stream.topic.has_metric or metric not in levels:
            expected = "nothing: this stream has no such topic"
            if stream.topic.has_metric:
                expected = f"one of {', '.join(levels)}"
            raise BadSubmission(f"metric: expected {expected}, not {metric!r}")
        return levels[metric]


def _receipt(outcome: Outcome, messages: Sequence[Message]) -> Receipt:
    indexes = {message.serial(): index for index, message in enumerate(messages)}
    rejections = {indexes[one.message.serial()]: one for one in outcome.rejections}
    readings = [
        item if isinstance(item, Reading) and index not in rejections else None
        for index, item in enumerate(outcome.parsed)
    ]
    return Receipt(
        outcome.stored,
        outcome.duplicate,
        sorted(rejections.items()),
        readings,
        len(outcome.ignored),
        outcome.readings if any(isinstance(one, Several) for one in outcome.parsed) else None,
    )


def payloads(body: bytes) -> Sequence[bytes]:
    """Return the raw payloads of a body, which holds one or an array. Raises BadSubmission."""
    body = body.removeprefix(BOM).strip()
    if not body.startswith(b"["):
        read_json(body, _RAW.decode)
        return [body]
    if json_arrays.is_longer(body, MAX_READINGS):
        raise BadSubmission(f"too many readings; at most {MAX_READINGS} are allowed in one request")
    elements = read_json(body, lenient_json.items)
    if not elements:
        raise BadSubmission("the array is empty; expected at least one reading")
    return elements


def read_json(text: bytes, decode: Callable[[bytes], T]) -> T:
    """Decode a text that may contain numbers unknown to JSON. Raises BadSubmission."""
    try:
        return lenient_json.decoded(text, decode)
    except msgspec.DecodeError as error:
        raise BadSubmission(f"the body is not JSON: {lenient_json.why(text)}") from error
    except RecursionError as error:
        raise BadSubmission("the body is not JSON: it is nested too deeply") from error
