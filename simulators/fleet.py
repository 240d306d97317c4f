"""A fleet: the boards that one loop drives, from the first connect to the last disconnect."""

import time
from collections.abc import Callable
from itertools import islice

from broker.connection import shared_context
from broker.dialer import Dialer
from broker.in_flight import MAX_IN_FLIGHT
from broker.loop import Loop
from config import Settings
from simulators.backend import Away, BackendClient
from simulators.board import Board, Shared
from simulators.connection import Limits
from simulators.device import SimulatedDevice
from simulators.fallback import Fallback
from simulators.tally import Tally
from simulators.timetable import Timetable
from utils.descriptors import allow

ATTEMPTS = 3
"""After this many consecutive failures to reach the broker, readings go over HTTP."""
MOST_HELD = 10_000
"""How many readings all boards together may hold for the broker or the backend."""
_MISC_SECONDS = 1.0
_LEAVE_SECONDS = 2.0
_CLOSE_SECONDS = 0.5
_MIN_IN_FLIGHT = 10


class BrokerError(Exception):
    """The broker cannot be used; the text says which one and why."""


class Fleet:
    """Boards that publish at a total rate in messages/s; 0 is no limit. Raises BrokerError."""

    def __init__(
        self,
        settings: Settings,
        devices: list[SimulatedDevice],
        rate: float,
        backend: BackendClient,
        note: Callable[[str], None],
    ) -> None:
        if error := allow(len(devices)):
            raise BrokerError(f"--devices {len(devices)}: {error}")
        self.tally = Tally()
        self._broker = settings.broker
        self.backend = backend
        self._note = note
        self._loop = Loop()
        self._dialer = Dialer(self._loop)
        self._timetable = Timetable(len(devices), rate)
        self._fallback = Fallback(backend, self.tally, note)
        limits = Limits(max(_MIN_IN_FLIGHT, MAX_IN_FLIGHT // len(devices)), at_once=rate > 0)
        shared = Shared(
            settings=settings,
            context=shared_context(settings),
            loop=self._loop,
            dialer=self._dialer,
            timetable=self._timetable,
            fallback=self._fallback,
            tally=self.tally,
            limits=limits,
            note=note,
        )
        self.boards = [Board(number, device, shared) for number, device in enumerate(devices)]
        self._limited = rate > 0
        self._full = False
        self._keep_alive()

    @property
    def online(self) -> int:
        """How many boards are online."""
        return sum(board.online for board in self.boards)

    @property
    def error(self) -> str:
        """Why the broker is away for all boards or for the posting ones; otherwise empty."""
        error = self._dialer.error
        return "" if error and self.online and not self.over_http else error

    @property
    def over_http(self) -> bool:
        """Whether offline boards post their readings."""
        return self._fallback.active

    def connect(self) -> None:
        """Connect the first board, or fall back to the backend; the others connect in later turns.

        Raises BrokerError if neither answers.
        """
        first = self.boards[0]
        self._dialer.want(first.connection)
        while not first.online and self._dialer.failures < ATTEMPTS:
            self._loop.turn(0.1)
        if not first.online:
            self._check_backend()
            self._choose_way()
        for board in islice(self.boards, 1, None):
            self._dialer.want(board.connection)

    def start(self) -> None:
        """Start to measure."""
        self._timetable.start()

    def measure(self, most: int) -> None:
        """Take up to `most` of the readings that are due."""
        for number, timestamp in self._timetable.due(most, self._can_measure, self._has_room):
            self.boards[number].measure(timestamp)

    def wait(self) -> float:
        """Return the seconds until a reading is due."""
        return self._timetable.wait()

    def turn(self, timeout: float) -> None:
        """Do what is due, then wait up to `timeout` seconds for the broker."""
        self._loop.turn(timeout)
        self._choose_way()

    def post_rest(self) -> None:
        """Post the readings of all offline boards, even if the broker may have them already."""
        self._fallback.hurry()
        for board in self._absent():
            self._fallback.take(board.connection.give_back_all())

    def close(self) -> None:
        """Publish that every board is offline, and disconnect."""
        self._dialer.stop()
        for board in self.boards:
            board.leave()
        self._turn_until_closed(_LEAVE_SECONDS)
        for board in self._connected():
            board.connection.hang_up()
        self._turn_until_closed(_CLOSE_SECONDS)

    def _turn_until_closed(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._connected() and time.monotonic() < deadline:
            self._loop.turn(0.05)

    def _connected(self) -> list[Board]:
        return [board for board in self.boards if not board.connection.closed]

    def _absent(self) -> list[Board]:
        return [board for board in self.boards if not board.online]

    def _can_measure(self, number: int) -> bool:
        board = self.boards[number]
        # Without a rate limit, a board measures as fast as its readings are delivered.
        return board.online or (
            not board.off and (self._fallback.active or self._timetable.has_interval(number))
        )

    def _has_room(self, number: int) -> bool:
        board = self.boards[number]
        return board.connection.room > 0 if board.online else self.tally.held < MOST_HELD

    def _check_backend(self) -> None:
        try:
            self.backend.check()
        except Away as error:
            raise BrokerError(
                f"the broker at {self._broker} cannot be reached: {self._dialer.error}; "
                f"nor can the backend at {self.backend.url}: {error}"
            ) from error

    def _choose_way(self) -> None:
        active = self._dialer.failures >= ATTEMPTS
        if active and not self._fallback.active:
            for board in self._absent():
                self._fallback.take(board.connection.give_back_kept())
        self._fallback.active = active
        if self._limited and not self._full and self.tally.held >= MOST_HELD:
            self._note(
                f"{MOST_HELD:,} readings are waiting: "
                "offline boards stop measuring until there is room"
            )
            self._full = True
        elif self._full and not self.tally.held:
            self._full = False

    def _keep_alive(self) -> None:
        for board in self.boards:
            board.connection.keep_alive()
        self._loop.call_in(_MISC_SECONDS, self._keep_alive)
