"""What several tests of the processes together need."""

from collections.abc import Iterator

import pytest

from tests.live import serving, tracebacks
from tests.processes import ingest_process, live_process, place
from tests.support import BackendProcess, Mosquitto, wait_for


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, broker: Mosquitto) -> Iterator[BackendProcess]:
    """A live process beside one that ingests."""
    folder = tmp_path_factory.mktemp("live")
    environment = place(folder, broker)
    ingest = ingest_process(folder / "ingest", **environment)
    with (
        serving(ingest, wait=False),
        serving(live_process(folder / "live", broker, **environment)) as backend,
    ):
        wait_for(backend.ready, what=f"a subscribed ingester; see {ingest.console}")
        yield backend
        assert not tracebacks(ingest)
        assert not tracebacks(backend)
