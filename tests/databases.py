"""Databases on a server: made once for each process of tests, and emptied between them.

To make and drop a database takes longer than most tests, so a database is used again as long as its
tables are as they were made.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, OperationalError

from streams.registry import Streams
from tests.support import prepared_database

MOST_EMPTIED = 2_000
"""Rows; where more were inserted into a table, another database is made sooner than this one is emptied."""

NAMED_ANEW = "installation"
"""The table with the row that each start makes if it is missing, so that tests have different client ids."""


class DatabaseServer:
    """Lends databases of one server."""

    def __init__(self, url: str, streams: Streams) -> None:
        self._engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self._streams = streams
        self._tables_made: list[str] = []
        self._schema: object = None
        self._rows: dict[str, list[tuple[Any, ...]]] = {}
        self._emptied: list[URL] = []
        self._postgresql = self._engine.dialect.name == "postgresql"

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a database as it is after its first start."""
        url = self._emptied.pop() if self._emptied else self._prepared()
        yield _shown(url)
        if self._empty(url):
            self._emptied.append(url)
        else:
            self._drop(url)

    @contextmanager
    def bare_database(self, options: str = "") -> Iterator[str]:
        """The URL of a new database without tables; `options` are those of CREATE DATABASE."""
        url = self._create(options)
        yield _shown(url)
        self._drop(url)

    def close(self) -> None:
        """Drop what was lent."""
        while self._emptied:
            self._drop(self._emptied.pop())

    def _create(self, options: str = "") -> URL:
        name = f"autoforge_{uuid.uuid4().hex[:12]}"
        with self._engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} {options}"))
        return self._engine.url.set(database=name)

    def _drop(self, url: URL) -> None:
        force = " WITH (FORCE)" if self._postgresql else ""
        with self._engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {url.database}{force}"))

    def _prepared(self) -> URL:
        url = self._create()
        with prepared_database(_shown(url), self._streams):
            pass
        with self._inside(url) as connection:
            self._tables_made = self._tables(connection)
            self._schema = self._shape(connection)
            self._rows = self._first_rows(connection)
            connection.exec_driver_sql(f"DELETE FROM {NAMED_ANEW}")
        return url

    def _first_rows(self, connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
        found = {
            name: connection.exec_driver_sql(f"SELECT * FROM {name}").all()
            for name in self._tables(connection)
        }
        return {name: [tuple(row) for row in rows] for name, rows in found.items() if rows}

    @contextmanager
    def _inside(self, url: URL) -> Iterator[Connection]:
        engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            yield connection

    def _empty(self, url: URL) -> bool:
        """Delete all rows and other tables; False if a table is not as it was made, or holds too much."""
        try:
            with self._inside(url) as connection:
                self._end_others(connection)
                self._drop_others(connection)
                if self._shape(connection) != self._schema or self._is_full(connection):
                    return False
                self._delete_rows(connection)
                self._insert_first_rows(connection)
        except DBAPIError:
            return False
        return True

    def _end_others(self, connection: Connection) -> None:
        if self._postgresql:
            others = (
                "pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM {others}"))
            return
        others = "information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        for number in connection.scalars(text(f"SELECT id FROM {others}")).all():
            connection.execute(text(f"KILL {number}"))

    def _drop_others(self, connection: Connection) -> None:
        """Drop the tables of streams that only one test declares."""
        quote = connection.dialect.identifier_preparer.quote_identifier
        for name in set(self._tables(connection)) - set(self._tables_made):
            connection.exec_driver_sql(f"DROP TABLE {quote(name)}".replace("%", "%%"))

    def _tables(self, connection: Connection) -> list[str]:
        schema = "current_schema()" if self._postgresql else "DATABASE()"
        found = text(
            f"SELECT table_name FROM information_schema.tables WHERE table_schema = {schema}"
        )
        return sorted(set(connection.scalars(found)) - {"alembic_version"})

    def _shape(self, connection: Connection) -> object:
        """What differs once a table, column, index, constraint or trigger has been changed."""
        if self._postgresql:
            return connection.execute(text(POSTGRESQL_SHAPE)).all()
        made = [
            str(connection.execute(text(f"SHOW CREATE TABLE `{name}`")).one()[1])
            for name in self._tables(connection)
        ]
        triggers = [row[0] for row in connection.execute(text("SHOW TRIGGERS"))]
        return [
            [line for line in one.splitlines() if "ENGINE=" not in line] for one in made
        ], triggers

    def _is_full(self, connection: Connection) -> bool:
        if self._postgresql:
            newest = "SELECT max(last_value) FROM pg_sequences WHERE schemaname = current_schema()"
        else:
            newest = "SELECT max(auto_increment) FROM information_schema.tables WHERE table_schema = DATABASE()"
        return (connection.scalar(text(newest)) or 0) > MOST_EMPTIED

    def _insert_first_rows(self, connection: Connection) -> None:
        for name, rows in self._rows.items():
            if name != NAMED_ANEW:
                places = ", ".join(["%s"] * len(rows[0]))
                connection.exec_driver_sql(f"INSERT INTO {name} VALUES ({places})", rows)

    def _delete_rows(self, connection: Connection) -> None:
        names = self._tables(connection)
        if self._postgresql:
            deletions = [f'DELETE FROM "{name}"' for name in names]
            restart = "SELECT setval(format('%I', sequencename), 1, false) FROM pg_sequences"
            connection.exec_driver_sql("; ".join([*deletions, restart.replace("%", "%%")]), ())
            return
        for name in names:
            connection.exec_driver_sql(f"DELETE FROM `{name}`")
        counted = "SELECT table_name FROM information_schema.tables WHERE auto_increment > 1 AND table_schema = DATABASE()"
        for name in connection.scalars(text(counted)).all():
            connection.exec_driver_sql(f"ALTER TABLE `{name}` AUTO_INCREMENT = 1")


def is_running(server: str) -> bool:
    """Whether a server lets us in."""
    engine = create_engine(server, poolclass=NullPool)
    try:
        engine.connect().close()
    except OperationalError:
        return False
    return True


def make_template(file: Path, streams: Streams) -> None:
    """Make a file of SQLite with all tables."""
    with (
        prepared_database(f"sqlite:///{file}", streams) as database,
        database.write() as connection,
        connection.begin(),
    ):
        connection.exec_driver_sql(f"DELETE FROM {NAMED_ANEW}")


POSTGRESQL_SHAPE = """
SELECT c.oid, c.relname, c.relkind, c.relchecks, c.relhastriggers, c.relacl::text,
       array_agg(row(a.attname, a.atttypid, a.attnotnull, a.attisdropped)::text ORDER BY a.attnum)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = current_schema()::regnamespace
GROUP BY c.oid ORDER BY c.oid
"""


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=False)
