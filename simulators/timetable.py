"""The timetable: which board measures next, and the time that its reading carries."""

import heapq
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from utils import clock

_MAX_LAG = 1.0
"""Seconds. A board that is later than this skips the missed times, as a real device does."""
_CLOCK_STEP = 0.01
"""Seconds. A larger step of the clock means that it was set."""

Ready = Callable[[int], bool]


class Timetable:
    """Boards at their own intervals; without a rate, they take turns without a limit."""

    def __init__(self, boards: int, rate: float) -> None:
        self._boards = boards
        self._usual = boards / rate if rate else None
        self._times: list[tuple[float, int, int]] = []
        """Heap of (when, board, serial number of its interval); an older number is void."""
        self._intervals: list[_Interval | None] = [None] * boards
        self._serial = [0] * boards
        self._late: list[tuple[float, int, int]] = []
        """Due, but not ready."""
        self._turns: deque[int] = deque()
        self._blocked = False
        self._offset = time.time() - time.monotonic()

    def start(self) -> None:
        """Start now, with the boards evenly spaced."""
        now = time.monotonic()
        for board in range(self._boards):
            if self._usual is None:
                self._turns.append(board)
            else:
                self._set(board, _Interval(now + self._usual * board / self._boards, self._usual))

    def change(self, board: int, seconds: float) -> None:
        """Give a board an interval of its own, from now on."""
        if self._intervals[board] is None and board in self._turns:
            self._turns.remove(board)
        self._set(board, _Interval(time.monotonic() + seconds, seconds))

    def reset(self, board: int) -> None:
        """Restore a board's original interval."""
        if self._usual is not None:
            self._set(board, _Interval(time.monotonic(), self._usual))
        elif self._intervals[board] is not None:
            self._serial[board] += 1
            self._intervals[board] = None
            self._turns.append(board)

    def has_interval(self, board: int) -> bool:
        """Whether a board measures at an interval instead of in turn."""
        return self._intervals[board] is not None

    def due(self, most: int, online: Ready, room: Ready) -> Iterator[tuple[int, datetime]]:
        """Return due boards with their naive UTC times. Publish before asking for the next."""
        now = time.monotonic()
        self._follow_clock(now)
        for entry in self._late:
            heapq.heappush(self._times, entry)
        self._late.clear()
        while most > 0 and self._times and self._times[0][0] <= now:
            when, board, serial = heapq.heappop(self._times)
            interval = self._intervals[board]
            if interval is None or serial != self._serial[board]:
                continue
            if not (online(board) and room(board)):
                self._late.append((when, board, serial))
                continue
            yield board, clock.EPOCH + timedelta(seconds=interval.step(now) + self._offset)
            most -= 1
            if serial == self._serial[board]:
                heapq.heappush(self._times, (interval.next, board, serial))
        yield from self._in_turn(most, online, room)

    def wait(self) -> float:
        """Return the seconds until the next board is due, without boards that were not ready."""
        if self._turns and not self._blocked:
            return 0.0
        return max(0.0, self._times[0][0] - time.monotonic()) if self._times else _MAX_LAG

    def _in_turn(self, most: int, online: Ready, room: Ready) -> Iterator[tuple[int, datetime]]:
        absent = 0
        while most > 0 and absent < len(self._turns):
            board = self._turns[0]
            if not online(board):
                absent += 1
            elif room(board):
                absent = 0
                most -= 1
                yield board, clock.now()
            else:
                break
            self._turns.rotate(-1)
        self._blocked = most > 0

    def _set(self, board: int, interval: "_Interval") -> None:
        self._serial[board] += 1
        self._intervals[board] = interval
        heapq.heappush(self._times, (interval.next, board, self._serial[board]))

    def _follow_clock(self, now: float) -> None:
        offset = time.time() - now
        if abs(offset - self._offset) > _CLOCK_STEP:
            self._offset = offset


class _Interval:
    """Evenly spaced times, in seconds of the monotonic clock."""

    def __init__(self, start: float, seconds: float) -> None:
        self._start = start
        self._seconds = seconds
        self._made = 0

    @property
    def next(self) -> float:
        return self._start + self._made * self._seconds

    def step(self, now: float) -> float:
        """Return the due time and advance; skip missed times if the board is too late."""
        if now - self.next > _MAX_LAG:
            self._made = max(self._made, int((now - self._start) / self._seconds))
        due = self.next
        self._made += 1
        return due
