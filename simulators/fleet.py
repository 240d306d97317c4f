"""A fleet: the boards that one loop drives, from the first connect to the last goodbye."""

import time
from collections.abc import Callable
from itertools import islice

from config import Settings
from simulators.board import Board, Shared
from simulators.client import BrokerError, Clients, reason
from simulators.connection import WINDOW, Limits, Tally
from simulators.descriptors import allow
from simulators.device import Device
from simulators.dialler import Dialler
from simulators.loop import Loop
from simulators.timetable import Timetable

_CONNECT_SECONDS = 10.0
_MISC_SECONDS = 1.0
_FAREWELL_SECONDS = 2.0
_CLOSE_SECONDS = 0.5
_SMALLEST_WINDOW = 10


class Fleet:
    """Boards that publish at a rate, in messages a second in all; 0 is no limit. Raises BrokerError."""

    def __init__(self, settings: Settings, devices: list[Device], rate: float, note: Callable[[str], None]) -> None:
        allow(len(devices))
        self.tally = Tally()
        self._broker = settings.broker
        self._loop = Loop()
        self._dialler = Dialler(self._loop)
        self._timetable = Timetable(len(devices), rate)
        limits = Limits(max(_SMALLEST_WINDOW, WINDOW // len(devices)), at_once=rate > 0)
        clients = Clients(settings)
        shared = Shared(settings, clients, self._loop, self._dialler, self._timetable, self.tally, limits, note)
        self.boards = [Board(number, device, shared) for number, device in enumerate(devices)]
        self._keep_alive()

    @property
    def online(self) -> int:
        """How many boards are online."""
        return sum(board.online for board in self.boards)

    @property
    def fault(self) -> str:
        """Why the broker is away; empty while it is not."""
        fault = self._dialler.fault
        return "" if fault and self.online else fault

    def connect(self) -> None:
        """Connect the first board; the others follow while the fleet turns. Raises BrokerError."""
        first = self.boards[0]
        try:
            first.connection.dial()
        except OSError as error:
            raise BrokerError(f"the broker at {self._broker} cannot be reached: {reason(error)}") from error
        deadline = time.monotonic() + _CONNECT_SECONDS
        while not first.online and not self._dialler.fault and time.monotonic() < deadline:
            self._loop.turn(0.1)
        if not first.online:
            fault = self._dialler.fault or f"no answer within {_CONNECT_SECONDS:.0f} s"
            raise BrokerError(f"the broker at {self._broker} does not accept the connection: {fault}")
        for board in islice(self.boards, 1, None):
            self._dialler.want(board.connection)

    def start(self) -> None:
        """Begin to measure."""
        self._timetable.start()

    def publish(self, most: int) -> None:
        """Publish up to so many of the readings that are due."""
        for number, moment in self._timetable.due(most, self._is_online, self._has_room):
            self.boards[number].measure(moment)

    def wait(self) -> float:
        """Seconds until a reading is due."""
        return self._timetable.wait()

    def turn(self, timeout: float) -> None:
        """Do what is due, then wait up to `timeout` seconds for the broker."""
        self._loop.turn(timeout)

    def close(self) -> None:
        """Say that every board is offline, and disconnect."""
        self._dialler.stop()
        for board in self.boards:
            board.leave()
        self._turn_until_closed(_FAREWELL_SECONDS)
        for board in self._connected():
            board.connection.hang_up()
        self._turn_until_closed(_CLOSE_SECONDS)

    def _turn_until_closed(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._connected() and time.monotonic() < deadline:
            self._loop.turn(0.05)

    def _connected(self) -> list[Board]:
        return [board for board in self.boards if not board.connection.closed]

    def _is_online(self, number: int) -> bool:
        return self.boards[number].online

    def _has_room(self, number: int) -> bool:
        return self.boards[number].connection.room > 0

    def _keep_alive(self) -> None:
        for board in self.boards:
            board.connection.keep_alive()
        self._loop.call_in(_MISC_SECONDS, self._keep_alive)
