"""A fleet: the devices of a stream that take turns."""

import itertools
from datetime import datetime
from random import Random

from simulators.device import Device, Message
from streams.declaration import Stream


class Fleet:
    """Devices `ESP32_001`, `ESP32_002` … (or `<stream>_001` …) in turn; a share of their messages is broken."""

    def __init__(self, stream: Stream, devices: int, seed: int, invalid: float = 0.0) -> None:
        prefix = "ESP32" if stream.name == "sensors" else stream.name
        self.devices = [Device(stream, f"{prefix}_{number:03d}", seed) for number in range(1, devices + 1)]
        self._turns = itertools.cycle(self.devices)
        self._share = invalid
        self._random = Random(f"{seed}/{stream.name}/invalid")

    def next(self, moment: datetime) -> Message:
        """The next device's message at a time in naive UTC."""
        return next(self._turns).next(moment, invalid=self._random.random() < self._share)
