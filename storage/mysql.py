"""MySQL and MariaDB through PyMySQL: bulk insert, locks, errors."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import pymysql
from pymysql.constants import CLIENT
from sqlalchemy import Connection, Engine, Insert, Table, create_engine, event
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DataError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.util import asbool

from storage import failures
from storage.dialect import (
    CONNECT_SECONDS,
    LOCK_SECONDS,
    POOL,
    Dialect,
    Merge,
    Row,
    check_parts,
    columns,
    literal,
)
from storage.locks import Lock, SessionLock

MAX_LOCK_NAME = 45
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
# To PyMySQL any text is true; SQLAlchemy reads only the other booleans.
_BOOLEANS = ("ssl_disabled", "ssl_verify_identity")
_ONLY = {"charset": ("utf8mb4",), "use_unicode": _TRUE, "autocommit": _FALSE}
"""What AutoForge cannot choose otherwise: any text must fit, and a batch is one transaction."""


class MySQL(Dialect):
    """A duplicate is an update that changes nothing."""

    MESSAGES: ClassVar[Mapping[str, str]] = {
        r"^(1021|1114)\b|Errcode: 28|errno: 28|error 28": failures.FULL,
        r"^(1792|1836)\b|^1290\b.*read-only": failures.READ_ONLY,
        r"^(1040|1203|1226)\b": failures.CROWDED,
        r"^(1037|1038|1041)\b": failures.MEMORY,
        r"^1205\b": failures.LOCKED,
        r"^(1117|1118)\b|errno: (139|185)\b": failures.TOO_WIDE,
    }
    PARAMETERS = "those of pymysql.connect"
    _REFUSALS: ClassVar = {
        *("1048", "1062", "1118", "1264", "1265", "1292", "1364", "1366"),
        *("1367", "1406", "1452", "1644", "1690", "3819", "4025"),
    }
    _TABLE_REFUSALS: ClassVar = {
        *("1050", "1059", "1060", "1061", "1069", "1071", "1074"),
        *("1117", "1118", "1142", "1166", "1293", "1709", "1785"),
    }
    _READ_ONLY: ClassVar = {"1290", "1792", "1836"}
    _SESSION = (
        # By default a recursive query ends at 1,000 rounds, in MariaDB without a word.
        "SET SESSION /*M! max_recursive_iterations */ /*!80000 cte_max_recursion_depth */ "
        "= 4294967295, "
        f"innodb_lock_wait_timeout = {LOCK_SECONDS}, lock_wait_timeout = {LOCK_SECONDS}"
    )

    def create_engine(self) -> Engine:
        query = self.url.normalized_query
        network = {"connect_timeout": CONNECT_SECONDS, "read_timeout": 30, "write_timeout": 30}
        own: dict[str, Any] = {k: value for k, value in network.items() if k not in query}
        own |= {name: asbool(query[name][-1]) for name in _BOOLEANS if name in query}
        # Without FOUND_ROWS a duplicate counts as no row, which distinguishes it from a new one.
        flags = int(query.get("client_flag", ("0",))[-1]) & ~CLIENT.FOUND_ROWS
        fixed = {"client_flag": flags, "charset": "utf8mb4", "autocommit": False}
        engine = create_engine(self.url, connect_args=own | fixed, **POOL)
        _check(engine, own | fixed)
        event.listen(engine, "do_connect", _connected)
        # Not as init_command, because DATABASE_URL may have one.
        event.listen(engine, "connect", self._on_connect)
        return engine

    def _on_connect(self, connection: Any, _: ConnectionPoolEntry) -> None:
        with connection.cursor() as cursor:
            cursor.execute(self._SESSION)

    def insert_rows(
        self,
        connection: Connection,
        table: Table,
        rows: Sequence[Row],
        written_at: datetime,
    ) -> int:
        names = columns(table)
        quoted = ", ".join(f"`{name}`" for name in names)
        marks = ", ".join(["%s"] * len(names))
        sql = (
            f"INSERT INTO `{table.name}` ({quoted}, created_at) "  # noqa: S608 - checked names
            f"VALUES ({marks}, {literal(written_at)}) ON DUPLICATE KEY UPDATE id=id"
        )
        return connection.exec_driver_sql(sql, list(rows)).rowcount

    def upsert(self, table: Table, keys: Sequence[str], merge: Merge) -> Insert:
        del keys  # MySQL finds the key itself
        statement = mysql.insert(table)
        # In this order: each change sees those before it.
        return statement.on_duplicate_key_update(list(merge(table.c, statement.inserted)))

    def lock(self, connection: Connection, name: str) -> Lock:
        # The names of GET_LOCK belong to the whole server, and have at most 64 characters.
        database = str(self.url.database)
        if len(database) > MAX_LOCK_NAME:
            database = hashlib.sha256(database.encode()).hexdigest()[:MAX_LOCK_NAME]
        arguments = {"name": f"autoforge.{name}.{database}"}
        take, give = "SELECT GET_LOCK(:name, :wait)", "SELECT RELEASE_LOCK(:name)"
        return SessionLock(connection, take, give, arguments)

    def refuses(self, error: DBAPIError) -> bool:
        return isinstance(error, DataError) or self.code(error) in self._REFUSALS

    def refuses_table(self, error: DBAPIError) -> bool:
        refused = self.code(error) in self._TABLE_REFUSALS
        return refused or self.reason(error) == failures.TOO_WIDE

    def code(self, error: SQLAlchemyError) -> str:
        arguments = getattr(getattr(error, "orig", None), "args", ())
        return str(arguments[0]) if arguments else ""

    def spoils(self, error: SQLAlchemyError) -> bool:
        return self.code(error) in self._READ_ONLY


def _connected(_: Any, __: Any, arguments: Any, parameters: Mapping[str, Any]) -> Any:
    """Connect; connect_timeout also limits how long the server may be silent until then."""
    limit = {"read_timeout": parameters["connect_timeout"]}
    connection: Any = pymysql.connect(*arguments, **{**parameters, **limit})
    # PyMySQL has one limit for the greeting and for statements, which may take longer.
    connection._read_timeout = parameters["read_timeout"]  # noqa: SLF001 - see above
    return connection


def _check(engine: Engine, own: Mapping[str, Any]) -> None:
    """Have PyMySQL check the parameters, without a server. Raises ValueError."""
    check_parts(engine.url)
    _, stated = engine.dialect.create_connect_args(engine.url)
    for name, allowed in _ONLY.items():
        if str(stated.get(name, allowed[0])).lower() not in allowed:
            raise ValueError(f"it can only be {allowed[0]}")
    file = stated.get("read_default_file")
    if file is not None and not Path(file).expanduser().is_file():
        raise ValueError(f"there is no file {file}")
    if "auth_plugin_map" in stated:
        raise ValueError("it is no text")
    if "defer_connect" in stated:
        raise ValueError("AutoForge connects when it has to")
    try:
        # An object that a text cannot be, such as a class of cursors, fails only in use.
        pymysql.Connection(**{**stated, **own}, defer_connect=True).cursor()
    except (TypeError, ValueError, AttributeError, NotImplementedError, OSError) as error:
        raise ValueError(str(error).removeprefix("Connection.__init__() got an ")) from error
