"""A simulated board: a device with a connection of its own, presence and commands."""

import secrets
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Self

from broker.connection import new_client
from broker.dialer import Dialer
from broker.loop import Loop
from config import Settings
from simulators import commands
from simulators.commands import (
    Answer,
    Answers,
    BoardCommand,
    Effect,
    Malformed,
    Restart,
    SetInterval,
)
from simulators.connection import BoardConnection, Limits
from simulators.device import SimulatedDevice
from simulators.fallback import Fallback
from simulators.tally import Tally
from simulators.timetable import Timetable
from utils import clock
from utils.device_topic import DEVICE

ONLINE, OFFLINE = b"online", b"offline"
# rumqttd publishes the will even after DISCONNECT, a moment later: "online" must come after it.
_BOOT_SECONDS = 0.1


@dataclass(frozen=True)
class Shared:
    """What all boards of a fleet share."""

    settings: Settings
    context: ssl.SSLContext | None
    loop: Loop
    dialer: Dialer
    timetable: Timetable
    fallback: Fallback
    tally: Tally
    limits: Limits
    note: Callable[[str], None]


class _Topics(NamedTuple):
    """The topics of one board, other than those of its readings."""

    control: str
    ack: str
    status: str

    @classmethod
    def of(cls, settings: Settings, device_id: str) -> Self:
        templates = (settings.control_topic, settings.ack_topic, settings.status_topic)
        return cls(*(template.replace(DEVICE, device_id) for template in templates))


class Board:
    """Online from its subscription until it leaves, restarts or loses the broker."""

    def __init__(self, number: int, device: SimulatedDevice, shared: Shared) -> None:
        self.number = number
        self.device = device
        self.online = False
        self._shared = shared
        self.connection = self._new_connection()
        self._topics = _Topics.of(shared.settings, device.device_id)
        self.connection.listen(self._topics.control, (self._topics.status, OFFLINE))
        self._answers = Answers()
        self._booted = time.monotonic()
        self._restart: str | None = None
        """The id of the restart command in progress."""
        self._down = self._left = self._disconnecting = False
        self.off = False
        """Whether it is restarting; otherwise it measures, even without the broker."""

    def _new_connection(self) -> BoardConnection:
        shared = self._shared
        # Another simulator with the same boards must not take over their connections.
        client_id = f"{self.device.device_id}-{secrets.token_hex(4)}"
        client = new_client(shared.settings, client_id, persistent=False, context=shared.context)
        return BoardConnection(
            client, shared.settings, shared.loop, self, tally=shared.tally, limits=shared.limits
        )

    def measure(self, timestamp: datetime) -> None:
        """Take a reading at a naive UTC time; publish it, post it, or keep it for later."""
        reading = self.device.next(timestamp)
        self._shared.tally.measured += 1
        self._shared.tally.invalid += reading.invalid
        if self.online:
            self.connection.publish(reading)
        elif self._shared.fallback.active:
            self._shared.fallback.take([reading])
        else:
            self.connection.keep(reading)

    def leave(self) -> None:
        """Publish "offline", disconnect, and do not reconnect."""
        self._left = True
        if not self.connection.closed:
            self._go_offline()

    def opened(self, obeys: bool) -> None:
        """Publish "online"; commands may follow at once."""
        self._shared.dialer.connected(self.connection)
        if not obeys:
            self._shared.note(
                f"{self.device.device_id}: the broker refused the subscription to its commands"
            )
        if self._left:
            return
        self.online = True
        self.connection.send(self._topics.status, ONLINE, retain=True)
        if self._down:
            self._boot()
        self.connection.publish_kept()

    def received(self, payload: bytes) -> None:
        """Execute and answer a command; repeat the last answer to a redelivered command."""
        try:
            command = commands.parse(payload)
        except Malformed as error:
            self._shared.note(
                f"{self.device.device_id}: ignored a command that cannot be read: {error}"
            )
            return
        known = self._answers.get(command.id)
        if known:
            self.connection.send(self._topics.ack, known.payload(command.id))
            return
        uptime = time.monotonic() - self._booted
        answer, effect = commands.obey(
            command, commands.BoardState(clock.now(), uptime, self._restart is not None)
        )
        self._answer(command.id, answer)
        self._do(effect, command)

    def settled(self) -> None:
        """Disconnect, if a disconnect is pending."""
        if self._disconnecting:
            self.connection.hang_up()

    def lost(self, error: str) -> None:
        """Reconnect after a restart, or when the broker is back."""
        self.online = self._disconnecting = False
        if error:
            self.off = False
            self._shared.dialer.failed(self.connection, error)
        elif not self._left:
            self._shared.loop.call_in(_BOOT_SECONDS, self._start_up)

    def _do(self, effect: Effect, command: BoardCommand) -> None:
        match effect:
            case SetInterval(seconds):
                self._shared.timetable.change(self.number, seconds)
            case Restart(delay):
                self._restart = command.id
                self._shared.loop.call_in(delay, self._shut_down)

    def _shut_down(self) -> None:
        self._down = True
        # Without a connection, the next connect counts as the restart.
        if self.online:
            self._go_offline()

    def _start_up(self) -> None:
        self.off = False
        self._shared.dialer.want(self.connection)

    def _boot(self) -> None:
        self._down = False
        self._booted = time.monotonic()
        self._shared.timetable.reset(self.number)
        if self._restart is not None:
            self._answer(self._restart, Answer("succeeded"))
        self._restart = None

    def _go_offline(self) -> None:
        self.online = False
        self._disconnecting = self.off = True
        self.connection.send(self._topics.status, OFFLINE, retain=True)

    def _answer(self, command_id: str, answer: Answer) -> None:
        self._answers.keep(command_id, answer)
        self.connection.send(self._topics.ack, answer.payload(command_id))
