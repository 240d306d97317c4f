"""Parts of stream files, for the tests that declare streams."""

from collections.abc import Callable

from streams.registry import Streams

TOPIC = 'topic = "a/{device_id}"\n'
METRIC = "[metrics.t]\n"
Declare = Callable[..., Streams]
