"""Fixtures: settings, and every kind of database and broker that AutoForge works with."""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from iotcore import Broker
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from config import Settings
from database import Database
from ingest.payload import Parser
from streams import declaration
from streams.registry import Streams
from tests.api import Api, running
from tests.live import at_broker, serving, tracebacks
from tests.parsing import make_parser
from tests.support import (
    DEVICE_TOPICS,
    Backend,
    Clock,
    Mosquitto,
    PostgresServer,
    free_port,
    missing,
    prepared_database,
    wait_for,
)
from utils import clock

POSTGRES_SERVER = "postgresql+psycopg2://postgres@127.0.0.1:5432/postgres"
MARIADB_SERVER = "mysql+pymysql://root@127.0.0.1:3306/mysql"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No test sees this machine's settings or writes into the project, and none leaves its umask to the next."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    umask = os.umask(0o022)
    yield
    os.umask(umask)


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The hands of the server's clock."""
    made = Clock()
    monkeypatch.setattr(clock, "now", made.now)
    return made


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    """Makes settings with a database in the test's folder and no `.env`."""

    def make(**values: Any) -> Settings:
        return Settings(
            **{"_env_file": None, "database_url": f"sqlite:///{tmp_path}/test.db"} | values
        )

    return make


@pytest.fixture(params=["sqlite", "postgresql", "postgresql-server", "mariadb"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/test.db"
        return
    server = (
        request.getfixturevalue("postgres_url")
        if request.param == "postgresql"
        else _running(request.param)
    )
    yield from fresh_database(server)


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """The PostgreSQL of the wheel, one server for all test processes."""
    server = PostgresServer(os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid())))
    server.start()
    return server.url


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that this test alone uses, and may stop."""
    server = PostgresServer(uuid.uuid4().hex)
    server.start()
    yield server
    server.delete()


def fresh_database(server: str) -> Iterator[str]:
    """The URL of a new database on a server; it is dropped afterwards."""
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    name = f"autoforge_{uuid.uuid4().hex[:12]}"
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield make_url(server).set(database=name).render_as_string(hide_password=False)
    force = " WITH (FORCE)" if engine.dialect.name == "postgresql" else ""
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name}{force}"))
    engine.dispose()


def _running(kind: str) -> str:
    server = POSTGRES_SERVER if kind == "postgresql-server" else MARIADB_SERVER
    engine = create_engine(server)
    try:
        engine.connect().close()
    except OperationalError:
        missing(kind)
    finally:
        engine.dispose()
    return server


@pytest.fixture
def streams() -> Streams:
    """The shipped declarations."""
    return declaration.load(Settings(_env_file=None).streams_dir, {}, DEVICE_TOPICS)


@pytest.fixture
def database(database_url: str, streams: Streams) -> Iterator[Database]:
    """A prepared database of each kind in turn."""
    with prepared_database(database_url, streams) as made:
        yield made


@pytest.fixture
def sqlite(tmp_path: Path, streams: Streams) -> Iterator[Database]:
    """A prepared SQLite database."""
    with prepared_database(f"sqlite:///{tmp_path}/test.db", streams) as made:
        yield made


@pytest.fixture
def embedded_broker() -> Iterator[int]:
    """The port of an embedded broker."""
    with Broker(
        port=free_port(), listen="127.0.0.1", max_payload_size=16_000_000, max_inflight_count=1000
    ) as broker:
        yield broker.port


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A Mosquitto with the shipped configuration."""
    server = Mosquitto(tmp_path / "mosquitto")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A Mosquitto for all tests of a module."""
    server = Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def backend(broker: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """A subscribed `python app.py` for all tests of a module; nothing in them may have logged a traceback."""
    with serving(at_broker(tmp_path_factory.mktemp("backend"), broker)) as started:
        wait_for(started.ready, what="a healthy backend")
        yield started
        assert tracebacks(started) == ""


@pytest.fixture
def api(settings: Callable[..., Settings], database_url: str) -> Iterator[Api]:
    """The API over an empty database of each kind in turn."""
    with running(settings(database_url=database_url)) as made:
        yield made


@pytest.fixture
def sqlite_api(settings: Callable[..., Settings]) -> Iterator[Api]:
    """The API over an empty SQLite database, for what no database has a part in."""
    with running(settings()) as made:
        yield made


@pytest.fixture(scope="session")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Parser:
    """A parser of the shipped `sensors` and of every other shape that a stream can have."""
    return make_parser(tmp_path_factory.mktemp("streams"))
