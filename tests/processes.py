"""AutoForge as several processes: gunicorn and its workers, the live process, the ingest process."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.live import Sse
from tests.support import PROJECT, BackendProcess, Mosquitto

LIVE = "gunicorn -c gunicorn.conf.py -w 1 --threads 1200 --worker-connections 2000 --name live -b 127.0.0.1:5001 app:live"


def gunicorn(
    folder: Path, broker: Mosquitto | None, arguments: str, **environment: str
) -> BackendProcess:
    """The backend under gunicorn, in the project's folder as docs/deploy.md says."""
    place = {"MQTT_BROKER": "127.0.0.1", "MQTT_PORT": str(broker.port)} if broker else {}
    database = f"sqlite:///{folder}/test.db"
    backend = BackendProcess(folder, [], **{"DATABASE_URL": database, **place, **environment})
    backend.command = [
        sys.executable,
        "-m",
        "gunicorn",
        *arguments.format(port=backend.port).split(),
    ]
    backend.cwd = PROJECT
    return backend


def holder(backend: BackendProcess) -> int | None:
    """The process id of the ingesting worker."""
    health = backend.answers()
    if health is None or not health["mqtt"]["subscribed"]:
        return None
    return int(health["mqtt"]["holder"].rpartition(":")[2])


def count(backend: BackendProcess) -> int:
    number: int = backend.get("/api/sensors/stats")[1]["stats"]["count"]
    return number


def place(folder: Path, broker: Mosquitto) -> dict[str, str]:
    """Where the processes of one installation find their database and their broker."""
    return {
        "DATABASE_URL": f"sqlite:///{folder}/test.db",
        "MQTT_BROKER": "127.0.0.1",
        "MQTT_PORT": str(broker.port),
    }


def live_process(folder: Path, broker: Mosquitto, **environment: str) -> BackendProcess:
    """The live process as it ships, not started."""
    folder.mkdir(exist_ok=True)
    return gunicorn(
        folder, broker, LIVE.removeprefix("gunicorn ").replace(":5001", ":{port}"), **environment
    )


def ingest_process(folder: Path, **environment: str) -> BackendProcess:
    """`python -m ingest`, not started."""
    folder.mkdir(exist_ok=True)
    return BackendProcess(folder, [sys.executable, "-m", "ingest"], **environment)


def workers(backend: BackendProcess) -> list[psutil.Process]:
    """The workers of a gunicorn."""
    assert backend.process is not None
    return psutil.Process(backend.process.pid).children()


def kill(backend: BackendProcess) -> None:
    """End a gunicorn and its workers at once, as when the machine lets it down."""
    assert backend.process is not None
    everyone = [psutil.Process(backend.process.pid), *workers(backend)]
    for process in everyone:
        process.kill()
    backend.process.wait(10)
    psutil.wait_procs(everyone, 10)


@contextlib.contextmanager
def at_each_worker(backend: BackendProcess, query: str) -> Iterator[list[Sse]]:
    """One client for each worker: while it connects, the other workers are stopped."""
    with contextlib.ExitStack() as stack:
        clients = []
        for chosen in workers(backend):
            others = [worker for worker in workers(backend) if worker != chosen]
            try:
                for worker in others:
                    worker.suspend()
                clients.append(stack.enter_context(Sse(backend.port, query)))
            finally:
                for worker in others:
                    worker.resume()
        yield clients
