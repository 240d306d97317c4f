"""Fixtures: settings, and every kind of database and broker that AutoForge works with."""

import os
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from iotcore import Broker

from config import Settings
from database import Database
from ingest.payload import Parser
from streams import declaration
from streams.registry import Streams
from tests.api import Api, running
from tests.brokers import EmbeddedServer, RealBroker
from tests.databases import DatabaseServer, is_running, make_template
from tests.declarations import Declare
from tests.live import at_broker, serving, tracebacks
from tests.parsing import make_parser
from tests.sites import Site
from tests.support import (
    DEVICE_TOPICS,
    BackendProcess,
    Clock,
    Mosquitto,
    PostgresServer,
    free_port,
    missing,
    prepared_database,
    wait_for,
)
from utils import clock

SERVERS = {
    "postgresql": "postgresql+psycopg2://postgres@127.0.0.1:5432/postgres",
    "mariadb": "mysql+pymysql://root@127.0.0.1:3306/mysql",
}
SETTINGS = {name.upper() for name in Settings.model_fields}
Lend = Callable[[str, Path], AbstractContextManager[str]]


@pytest.fixture(scope="session")
def empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tests run that ask for no folder of their own."""
    return tmp_path_factory.mktemp("empty")


@pytest.fixture(autouse=True)
def _own_environment(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, empty_folder: Path
) -> Iterator[None]:
    """No test sees this machine's settings or writes into the project, and none leaves its umask to the next."""
    for name in SETTINGS & os.environ.keys():
        monkeypatch.delenv(name)
    asks = "tmp_path" in request.fixturenames
    monkeypatch.chdir(request.getfixturevalue("tmp_path") if asks else empty_folder)
    umask = os.umask(0o022)
    yield
    os.umask(umask)
    if not asks and (names := os.listdir(empty_folder)):  # noqa: PTH208 - a third of the time, for each test
        shutil.rmtree(empty_folder)
        empty_folder.mkdir()
        pytest.fail(f"wrote {names}: a test that writes files asks for tmp_path")


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


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database_url(
    request: pytest.FixtureRequest, tmp_path: Path, lent_database: Lend
) -> Iterator[str]:
    """The URL of a database of each kind in turn; as it is after its first start."""
    with lent_database(request.param, tmp_path) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def bare_database_url(
    request: pytest.FixtureRequest, tmp_path: Path, server_of: Callable[[str], DatabaseServer]
) -> Iterator[str]:
    """The URL of a database without tables, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/test.db"
        return
    with server_of(request.param).bare_database() as url:
        yield url


@pytest.fixture(scope="session")
def lent_database(server_of: Callable[[str], DatabaseServer], sqlite_template: Path) -> Lend:
    """Lends a database of a kind as it is after its first start; that of SQLite lies in the folder."""

    @contextmanager
    def lend(kind: str, folder: Path) -> Iterator[str]:
        if kind == "sqlite":
            shutil.copyfile(sqlite_template, folder / "test.db")
            yield f"sqlite:///{folder}/test.db"
            return
        with server_of(kind).database() as url:
            yield url

    return lend


@pytest.fixture(scope="session")
def server_of(
    request: pytest.FixtureRequest, shipped_streams: Streams
) -> Iterator[Callable[[str], DatabaseServer]]:
    """The server of a kind of database."""
    servers: dict[str, DatabaseServer] = {}

    def serve(kind: str) -> DatabaseServer:
        if kind not in servers:
            url = SERVERS[kind]
            if not is_running(url):
                if kind != "postgresql" or os.environ.get("CI"):
                    missing(kind)
                url = request.getfixturevalue("postgres_url")
            servers[kind] = DatabaseServer(url, shipped_streams)
        return servers[kind]

    yield serve
    for server in servers.values():
        server.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory, shipped_streams: Streams) -> Path:
    """A database of SQLite as it is after its first start."""
    file = tmp_path_factory.mktemp("template") / "test.db"
    make_template(file, shipped_streams)
    return file


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


@pytest.fixture(scope="session")
def shipped_streams() -> Streams:
    """The shipped declarations, the same for all tests of a process."""
    return _load_shipped()


@pytest.fixture
def streams() -> Streams:
    """The shipped declarations."""
    return _load_shipped()


@pytest.fixture
def declare(tmp_path: Path) -> Declare:
    """Loads streams from texts, named by their files."""

    def from_texts(topics: dict[str, str] | None = None, **texts: str) -> Streams:
        for name, text in texts.items():
            (tmp_path / f"{name}.toml").write_text(text)
        return declaration.load(tmp_path, topics or {}, DEVICE_TOPICS)

    return from_texts


def _load_shipped() -> Streams:
    return declaration.load(Settings(_env_file=None).streams_dir, {}, DEVICE_TOPICS)


@pytest.fixture
def database(database_url: str, streams: Streams) -> Iterator[Database]:
    """A prepared database of each kind in turn."""
    with prepared_database(database_url, streams) as made:
        yield made


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mariadb"])
def prepared_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, lent_database: Lend
) -> Iterator[Site]:
    """A site for all tests of a module, on a database of each kind in turn."""
    folder = tmp_path_factory.mktemp("site")
    with lent_database(request.param, folder) as url:
        site = Site(url, folder)
        yield site
        site.database.close()


@pytest.fixture
def site(prepared_site: Site) -> Site:
    """A site with no readings."""
    prepared_site.empty()
    return prepared_site


@pytest.fixture
def sqlite(tmp_path: Path, lent_database: Lend, streams: Streams) -> Iterator[Database]:
    """A prepared SQLite database."""
    with lent_database("sqlite", tmp_path) as url, prepared_database(url, streams) as made:
        yield made


@pytest.fixture
def fast_broker() -> Iterator[int]:
    """The port of a broker in the test's own process; it starts fast and keeps nothing on disk."""
    with Broker(
        port=free_port(), listen="127.0.0.1", max_payload_size=16_000_000, max_inflight_count=1000
    ) as broker:
        yield broker.port


@pytest.fixture
def embedded_broker(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """The embedded broker of the product, its store beside the database of the test's settings.

    Each test has its own: sessions and retained messages of one would reach the next.
    """
    with EmbeddedServer(tmp_path) as server:
        yield server


@pytest.fixture
def real_broker(request: pytest.FixtureRequest) -> RealBroker:
    """A Mosquitto; with `each_broker` the embedded broker too, in turn."""
    made: RealBroker = request.getfixturevalue(getattr(request, "param", "mosquitto"))
    return made


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A Mosquitto with the shipped configuration."""
    with Mosquitto(tmp_path / "mosquitto") as server:
        yield server


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield int(server.getsockname()[1])


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A Mosquitto for all tests of a module."""
    with Mosquitto(tmp_path_factory.mktemp("mosquitto")) as server:
        yield server


@pytest.fixture(scope="module")
def backend(
    broker: Mosquitto, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BackendProcess]:
    """A subscribed `python app.py` for all tests of a module; nothing in them may have logged a traceback."""
    with serving(at_broker(tmp_path_factory.mktemp("backend"), broker)) as started:
        wait_for(started.ready, what="a healthy backend")
        yield started
        assert tracebacks(started) == ""


@pytest.fixture(scope="module")
def used_streams(request: pytest.FixtureRequest) -> str:
    """The streams of `api` and `sqlite_api`, as in STREAMS; with fewer they are made faster.

    A module says which it needs in USED_STREAMS; otherwise they are all that are shipped.
    """
    return str(getattr(request.module, "USED_STREAMS", ""))


@pytest.fixture
def api(settings: Callable[..., Settings], database_url: str, used_streams: str) -> Iterator[Api]:
    """The API over an empty database of each kind in turn."""
    with running(settings(database_url=database_url, streams=used_streams)) as made:
        yield made


@pytest.fixture
def sqlite_api(
    settings: Callable[..., Settings], tmp_path: Path, lent_database: Lend, used_streams: str
) -> Iterator[Api]:
    """The API over an empty SQLite database, for what no database has a part in."""
    with (
        lent_database("sqlite", tmp_path) as url,
        running(settings(database_url=url, streams=used_streams)) as made,
    ):
        yield made


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API for what is refused before any broker is asked; were it accepted, it would be 503."""
    folder = tmp_path_factory.mktemp("refusing")
    database = f"sqlite:///{folder}/test.db"
    with running(
        Settings(
            _env_file=None, database_url=database, mqtt_broker="127.0.0.1", mqtt_port=free_port()
        )
    ) as api:
        yield api


@pytest.fixture(scope="session")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Parser:
    """A parser of the shipped `sensors` and of every other shape that a stream can have."""
    return make_parser(tmp_path_factory.mktemp("streams"))
