"""gunicorn --preload: the application is made before the fork, and yet the workers share nothing of it."""

from pathlib import Path

import pytest

from tests.live import post, serving, tracebacks
from tests.processes import at_each_worker, gunicorn, workers
from tests.support import Mosquitto, wait_for

COMMAND = "--preload -c gunicorn.conf.py -w 3 -b 127.0.0.1:{port} app:app"


@pytest.mark.process
def test_the_live_clients_of_every_worker_get_what_another_stores(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    with serving(gunicorn(tmp_path, mosquitto, COMMAND)) as backend:
        wait_for(backend.ready, what="a healthy backend")
        wait_for(lambda: len(workers(backend)) == 3)
        with at_each_worker(backend, "device_id=board") as clients:
            for temperature in range(6):
                post(backend, "board", temperature)
                for client in clients:
                    client.await_temperature(temperature)
        assert not tracebacks(backend)
