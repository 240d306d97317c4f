"""The figures of /api/health."""

from datetime import timedelta

import pytest

from services.status import _seconds_since
from utils import clock


@pytest.mark.parametrize(("ago", "seconds"), [(5.0, 5), (0.0, 0), (-3_600.0, 0), (-31_536_000.0, 0)])
def test_the_uptime_is_never_negative_also_after_the_clock_was_set_back(ago: float, seconds: int) -> None:
    told = _seconds_since(clock.now() - timedelta(seconds=ago))
    assert told is not None
    assert seconds <= told < seconds + 1


def test_there_is_no_uptime_of_what_never_began() -> None:
    assert _seconds_since(None) is None
