"""Parse the messages of a batch, in portions that fit into memory and into a transaction."""

import logging
from collections.abc import Iterator, Sequence

from broker.message import Message
from ingest.message import Parsed, Rejection, Several
from ingest.payload import Parser

logger = logging.getLogger(__name__)
INTERNAL = "internal_error"
READINGS_AT_ONCE = 20_000
"""Readings of messages with several that are stored in one transaction, roughly: a compressed
message of a few bytes can have 10,000."""


class BatchParser:
    """Parses messages; one with which the parser fails is set aside."""

    def __init__(self, parser: Parser) -> None:
        self._parser = parser

    def portions(self, messages: Sequence[Message]) -> Iterator[list[Parsed]]:
        """Parse messages as they are stored, so that few readings are in memory at once."""
        portion: list[Parsed] = []
        readings = 0
        for message in messages:
            parsed = self._one(message)
            portion.append(parsed)
            if type(parsed) is Several:
                readings += len(parsed.readings) + len(parsed.rejections)
                if readings >= READINGS_AT_ONCE:
                    yield portion
                    portion, readings = [], 0
        yield portion

    def _one(self, message: Message) -> Parsed:
        try:
            return self._parser.parse(message)
        except Exception:
            logger.exception("A message on %s could not be parsed and is set aside", message.topic)
            return internal("read", message)


def is_internal(item: Parsed) -> bool:
    """Return whether AutoForge failed with a message."""
    return isinstance(item, Rejection) and item.reason == INTERNAL


def internal(verb: str, message: Message) -> Rejection:
    """Return the rejection of a message that AutoForge failed to read or to store."""
    text = f"AutoForge failed to {verb} the message; see its log"
    return Rejection(None, INTERNAL, text, message)
