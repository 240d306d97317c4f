"""The dialer: which connection is tried next, and the pauses between attempts."""

from itertools import pairwise

import pytest

from broker.dialer import JITTER, Dialer
from broker.loop import Loop

STEP = 0.001


class Seconds:
    """A clock that the test advances; it replaces the module `time`."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def turn(self, loop: Loop) -> None:
        """Let a moment pass, and what is due then be done."""
        self.now += STEP
        loop.turn(0)


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Seconds:
    """The clock of the loop, the dialer and its backoff; the delays are short."""
    made = Seconds()
    for module in ("loop", "dialer", "backoff"):
        monkeypatch.setattr(f"broker.{module}.time", made)
    monkeypatch.setattr("broker.dialer.FIRST_DELAY", 0.04)
    monkeypatch.setattr("broker.dialer.LONGEST_DELAY", 0.16)
    return made


class RefusedClient:
    """What is refused whenever it is dialled, and when that was."""

    def __init__(self, seconds: Seconds) -> None:
        self.times: list[float] = []
        self._seconds = seconds

    def dial(self) -> None:
        self.times.append(self._seconds.now)
        raise ConnectionRefusedError(111, "Connection refused")

    def give_up(self, fault: str) -> None:
        """It never is: every attempt is answered."""


class Accepted(RefusedClient):
    """What is accepted when it is dialled."""

    def dial(self) -> None:
        self.times.append(self._seconds.now)


def test_those_that_were_refused_are_dialled_after_all_others(seconds: Seconds) -> None:
    loop = Loop()
    dialer = Dialer(loop)
    refused = [RefusedClient(seconds) for _ in range(10)]
    for one in refused:
        dialer.want(one)
    while not refused[-1].times:
        seconds.turn(loop)
    dialer.want(new := Accepted(seconds))
    while not new.times:
        seconds.turn(loop)
    loop.close()
    assert sum(len(one.times) for one in refused) == 10


class Ended(RefusedClient):
    """What is accepted whenever it is dialled, and ended at once."""

    def __init__(self, seconds: Seconds, loop: Loop, dialer: Dialer) -> None:
        super().__init__(seconds)
        self._loop = loop
        self._dialer = dialer
        self.gone = False

    def dial(self) -> None:
        self.times.append(self._seconds.now)
        self._loop.call_in(0, self._end)

    def _end(self) -> None:
        if not self.gone:
            self._dialer.connected(self)
            self._dialer.failed(self, "the connection was lost")


def test_pauses_of_one_that_is_accepted_and_soon_ended_double_whatever_becomes_of_others(
    seconds: Seconds,
) -> None:
    loop = Loop()
    dialer = Dialer(loop)
    both = [Ended(seconds, loop, dialer) for _ in range(2)]
    for one in both:
        dialer.want(one)
    while not all(len(one.times) >= 6 for one in both):
        seconds.turn(loop)
    both[0].gone = True
    dialer.forget(both[0])
    seen = len(both[0].times)
    while len(both[1].times) < 8:
        seconds.turn(loop)
    loop.close()
    assert len(both[0].times) == seen
    for one in both:
        pauses = [later - earlier for earlier, later in pairwise(one.times)]
        assert all(
            pause >= low * (1 - JITTER)
            for pause, low in zip(pauses, (0.04, 0.08, 0.16, 0.16), strict=False)
        )


def test_pauses_between_attempts_double_up_to_a_limit_and_differ(
    seconds: Seconds,
) -> None:
    loop = Loop()
    refused = [RefusedClient(seconds) for _ in range(20)]
    dialers = [Dialer(loop) for _ in refused]
    for dialer, one in zip(dialers, refused, strict=True):
        dialer.want(one)
    while not all(len(one.times) >= 6 for one in refused):
        seconds.turn(loop)
    loop.close()
    pauses = [[later - earlier for earlier, later in pairwise(one.times)] for one in refused]
    for number, longest in enumerate((0.04, 0.08, 0.16, 0.16, 0.16)):
        found = sorted(pause[number] for pause in pauses)
        assert found[0] >= longest * (1 - JITTER)
        assert found[-1] <= longest + 20 * STEP
        assert found[-1] - found[0] >= longest * JITTER / 4, "all come back in the same moment"
    assert {dialer.error for dialer in dialers} == {"Connection refused"}
