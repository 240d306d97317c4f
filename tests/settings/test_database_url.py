"""What DATABASE_URL says beside the place: it holds, and what AutoForge needs is added to it."""

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from config import SettingsError
from database import Database, Unavailable
from streams.registry import Streams
from tests.fixtures import Lend
from tests.support import prepared_database
from utils.database_url import checked, file_of


def asked(url: str, streams: Streams, question: str) -> object:
    """What a connection made with this URL answers."""
    database = Database(make_url(url), streams)
    try:
        with database.engine.connect() as connection:
            return connection.execute(text(question)).scalar()
    finally:
        database.close()


def with_query(url: str, **query: str) -> str:
    return make_url(url).update_query_dict(query).render_as_string(hide_password=False)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("query", "question", "answer"),
    [
        ({"options": "-csearch_path=iot"}, "SHOW search_path", "iot"),
        ({"options": "-csearch_path=iot"}, "SHOW TimeZone", "UTC"),
        ({"options": "-csynchronous_commit=off"}, "SHOW synchronous_commit", "on"),
        ({"options": "-clock_timeout=7s"}, "SHOW lock_timeout", "7s"),
        ({}, "SHOW lock_timeout", "5s"),
        ({"application_name": "here"}, "SHOW application_name", "here"),
        ({"client_encoding": "UTF-8"}, "SHOW client_encoding", "UTF8"),
        ({"options": "-cclient_encoding=latin1"}, "SHOW client_encoding", "UTF8"),
    ],
)
def test_postgresql_takes_the_options_of_the_url(
    database_url: str, streams: Streams, query: dict[str, str], question: str, answer: str
) -> None:
    assert asked(with_query(database_url, **query), streams, question) == answer


@pytest.mark.parametrize("bare_database_url", ["postgresql"], indirect=True)
def test_the_tables_are_made_in_the_schema_that_the_url_names(
    bare_database_url: str, streams: Streams
) -> None:
    first = Database(make_url(bare_database_url), streams)
    with first.engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA iot"))
    first.close()
    url = with_query(bare_database_url, options="-csearch_path=iot")
    question = "SELECT string_agg(DISTINCT schemaname, ' ') FROM pg_tables WHERE tablename LIKE '%_readings'"
    database = Database(make_url(url), streams)
    database.prepare()
    database.close()
    assert asked(url, streams, question) == "iot"


@pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
@pytest.mark.parametrize(
    ("query", "question", "answer"),
    [
        ({"init_command": "SET @@session.sql_mode='ANSI'"}, "SELECT @@sql_mode LIKE '%ANSI%'", 1),
        ({"init_command": "SET @x = 1"}, "SELECT @@innodb_lock_wait_timeout", 5),
        ({"charset": "utf8mb4"}, "SELECT @@character_set_client", "utf8mb4"),
        ({"use_unicode": "1"}, "SELECT @@character_set_client", "utf8mb4"),
        ({"autocommit": "false"}, "SELECT @@autocommit", 0),
        ({"read_timeout": "7", "client_flag": "2"}, "SELECT @@lock_wait_timeout", 5),
    ],
)
def test_mariadb_takes_the_parameters_of_the_url(
    database_url: str, streams: Streams, query: dict[str, str], question: str, answer: object
) -> None:
    assert asked(with_query(database_url, **query), streams, question) == answer


@pytest.mark.database
@pytest.mark.parametrize(("query", "seconds"), [("", 30), ("?read_timeout=7", 7)])
def test_mysql_may_be_silent_no_longer_than_the_connect_timeout_until_it_is_connected(
    query: str, seconds: int, silent: int, streams: Streams, lent_database: Lend, tmp_path: Path
) -> None:
    with lent_database("mariadb", tmp_path) as url:
        database = Database(make_url(f"{url}{query}"), streams)
        with database.engine.connect() as connection:
            driver: Any = connection.connection.dbapi_connection
            assert driver._read_timeout == seconds
        database.close()
    url = f"mysql+pymysql://me@127.0.0.1:{silent}/x?connect_timeout=1"
    before = time.monotonic()
    with pytest.raises(Unavailable, match="timed out"):
        Database(make_url(url), streams).prepare()
    assert time.monotonic() - before < 4


@pytest.mark.database
def test_sqlite_takes_the_timeout_of_the_url(streams: Streams, tmp_path: object) -> None:
    assert asked(f"sqlite:///{tmp_path}/x.db?timeout=3", streams, "PRAGMA busy_timeout") == 3000
    assert asked(f"sqlite:///{tmp_path}/x.db", streams, "PRAGMA busy_timeout") == 10_000


@pytest.mark.database
@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("x.db", "x.db"),
        ("file:x.db?uri=true", "x.db"),
        ("file:{folder}/a%2520b.db?uri=true", "a b.db"),
        ("file://{folder}/x.db?uri=true&mode=rwc", "x.db"),
        ("file://localhost{folder}/x.db?uri=1", "x.db"),
        ("file:x.db", "file:x.db"),
    ],
)
def test_the_file_that_is_watched_is_the_one_that_sqlite_opens(
    url: str, file: str, streams: Streams, tmp_path: Path
) -> None:
    text = "sqlite:///" + url.format(folder=tmp_path)
    opened = asked(text, streams, "SELECT file FROM pragma_database_list")
    assert opened == str(tmp_path / file) == os.path.abspath(file_of(make_url(text)))  # noqa: PTH100 - as it is, links too


PLACES = {
    "postgresql": "postgresql+psycopg2://me:secret@nowhere.invalid/db?application_name=x&",
    "mysql": "mysql+pymysql://me:secret@nowhere.invalid/db?sql_mode=ANSI&",
    "sqlite": "sqlite:///x.db?cached_statements=7&",
    "sqlite file": "sqlite:///file:x.db?uri=true&timeout=2.5&",
}


@pytest.mark.parametrize(
    ("kind", "parameter", "fault"),
    [
        ("postgresql", "sslmode=bogus", 'invalid sslmode value: "bogus"'),
        ("postgresql", "colour=red", 'invalid connection option "colour"'),
        ("postgresql", "service=none", 'definition of service "none" not found'),
        ("postgresql", "connect_timeout=soon", "connect_timeout must be a whole number"),
        ("postgresql", "keepalives_idle=x", "keepalives_idle must be a whole number"),
        ("postgresql", "port=x", "Received non-integer port arguments: ('x',)"),
        ("postgresql", "cursor_factory=x", "it is psycopg2's, and no text"),
        ("postgresql", "dsn=host%3Dh", "it is psycopg2's, and no text"),
        ("postgresql", "dbname=postgres", "before the ? the URL says another database; keep one"),
        ("postgresql", "user=you", "before the ? the URL says another username; keep one"),
        ("postgresql", "password=other", "before the ? the URL says another password; keep one"),
        ("postgresql", "host=/run/postgresql", "before the ? the URL says another host; keep one"),
        ("mysql", "db=mysql", "before the ? the URL says another database; keep one"),
        ("mysql", "passwd=other", "before the ? the URL says another password; keep one"),
        ("mysql", "host=other", "before the ? the URL says another host; keep one"),
        ("mysql", "read_default_file=/nope", "there is no file /nope"),
        ("mysql", "ssl_disabled=maybe", "String is not true/false: 'maybe'"),
        *(
            ("postgresql", f"client_encoding={name}", "AutoForge sends UTF-8 to every database")
            for name in ("latin1", "SQL_ASCII", "auto", "bogus")
        ),
        ("mysql", "pasword=x", "unexpected keyword argument 'pasword'"),
        ("mysql", "connect_timeout=soon", "invalid literal for int() with base 10: 'soon'"),
        ("mysql", "connect_timeout=-1", "connect_timeout should be >0 and <=31536000"),
        ("mysql", "client_flag=x", "invalid literal for int() with base 10: 'x'"),
        ("mysql", "ssl_ca=/nowhere.pem", "[Errno 2] No such file or directory"),
        ("mysql", "ssl_check_hostname=x", "String is not true/false: 'x'"),
        ("mysql", "cursorclass=x", "'str' object is not callable"),
        ("mysql", "compress=1", "compress and named_pipe arguments are not supported"),
        *(
            ("mysql", f"charset={name}", "it can only be utf8mb4")
            for name in ("bogus", "latin1", "utf8")
        ),
        ("mysql", "use_unicode=0", "it can only be true"),
        ("mysql", "autocommit=true", "it can only be false"),
        ("mysql", "auth_plugin_map=x", "it is no text"),
        ("mysql", "defer_connect=1", "AutoForge connects when it has to"),
        *(
            ("sqlite", parameter, "AutoForge writes the file, and has no other use for parameters")
            for parameter in ("mode=ro", "mode=rwc", "foo=1")
        ),
        ("sqlite", "timeout=soon", "'soon' is not a number of seconds, such as 10; allowed are"),
        ("sqlite", "timeout=-1", "'-1' is not a number of seconds, such as 10; allowed are"),
        ("sqlite file", "mode=ro", "'ro' is not rw or rwc"),
        ("sqlite file", "mode=x", "'x' is not rw or rwc"),
        *(
            ("sqlite file", parameter, "AutoForge writes the file")
            for parameter in ("foo=1", "immutable=1", "nolock=1", "vfs=none")
        ),
        ("sqlite", "uri=maybe", "String is not true/false: 'maybe'"),
    ],
)
def test_a_parameter_that_the_driver_refuses_stops_the_start_without_a_server(
    kind: str, parameter: str, fault: str, streams: Streams
) -> None:
    with pytest.raises(SettingsError) as told:
        Database(make_url(f"{PLACES[kind]}{parameter}"), streams)
    name = parameter.partition("=")[0]
    assert str(told.value).startswith(f"DATABASE_URL: the parameter {name} cannot be used: {fault}")
    assert "allowed are" in str(told.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg2://h/db?sslmode=require&connect_timeout=2&keepalives=0",
        "postgresql+psycopg2://me@/db?host=a:1&host=b:2&target_session_attrs=read-write",
        "postgresql+psycopg2:///db?host=/var/run/postgresql",
        "postgresql://h?dbname=db",
        "postgresql://me:secret@h/db?user=me&host=h&password=secret",
        "mysql://h/db?ssl_disabled=false&ssl_verify_identity=no&local_infile=0",
        "mysql:///db?host=h&user=me",
        "postgresql://me:p?w@h/db?",
        "postgresql://me:p?w@h/db?application_name=a@b?",
        "postgresql+psycopg2://h/db?hostaddr=192.0.2.1&options=-csearch_path%3Diot",
        "sqlite:///x.db?timeout=2.5&cached_statements=9&uri=false",
        "sqlite:///file:x.db?uri=true&mode=rw",
        "mysql+pymysql://h/db?unix_socket=/run/mysqld.sock&read_timeout=5",
        "mysql+pymysql://h/db?init_command=SET+@x%3D1&client_flag=2",
    ],
)
def test_what_only_a_server_can_judge_does_not_stop_the_start(url: str, streams: Streams) -> None:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PGHOSTADDR", "192.0.2.1")
        Database(make_url(checked(url)), streams).close()


@pytest.mark.parametrize("url", ["sqlite:////proc/x.db", "sqlite:///file:/proc/x.db?uri=true"])
def test_a_folder_that_cannot_be_written_stops_the_start(url: str, streams: Streams) -> None:
    with pytest.raises(SettingsError, match=r"^DATABASE_URL: the folder /proc cannot be written: "):
        Database(make_url(checked(url)), streams)


@pytest.mark.database
@pytest.mark.parametrize(
    ("folders", "name", "fault"),
    [
        (0, 243, None),
        (0, 244, "the name of the file has 244 bytes; with the files beside it at most 243 are"),
        (3, 100, r"the path .* has \d+ bytes; with the files beside it at most 504 are possible"),
    ],
)
def test_a_file_whose_locks_would_have_too_long_a_name_stops_the_start(
    folders: int, name: int, fault: str | None, streams: Streams, tmp_path: Path
) -> None:
    folder = tmp_path.joinpath(*["d" * 150] * folders)
    folder.mkdir(parents=True, exist_ok=True)
    url = make_url(checked(f"sqlite:///{folder}/{'x' * name}"))
    if fault is None:
        with prepared_database(url.render_as_string(), streams):
            return
    with pytest.raises(SettingsError, match=f"^DATABASE_URL: {fault}"):
        Database(url, streams)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://h/db?sslmode=a&sslmode=b",
        "mysql://h/db?sslmode=a&sslmode=b",
        "sqlite:///x.db?sslmode=1&sslmode=2",
    ],
)
def test_a_parameter_that_stands_twice_is_named(url: str) -> None:
    with pytest.raises(ValueError, match="each parameter once, and has more than one: sslmode"):
        checked(url)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("mysql://root@127.0.0.1", "mysql"),
        ("mariadb://root@127.0.0.1/?sql_mode=ANSI", "mysql"),
        ("mysql:///?database=x", "mysql"),
        ("postgresql://me@127.0.0.1", "postgresql"),
        ("postgres:///?host=/run/postgresql", "postgresql"),
    ],
)
def test_a_server_without_the_name_of_a_database_is_refused(
    url: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGDATABASE", raising=False)
    told = f"must name the database, such as {kind}://user:password@host/name"
    with pytest.raises(ValueError, match=re.escape(told)):
        checked(url)
    if kind == "postgresql":
        monkeypatch.setenv("PGDATABASE", "named")
        assert checked(url)


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("postgresql://me:p?w@h/db?sslmode=&application_name=x", "sslmode"),
        ("postgresql://h/db?sslmode", "sslmode"),
        ("mysql://h/db?charset=&ssl_ca", "charset, ssl_ca"),
        ("sqlite:///x?.db", ".db"),
        ("sqlite:///x.db?", "the end"),
    ],
)
def test_a_parameter_without_a_value_is_named(url: str, names: str) -> None:
    with pytest.raises(ValueError, match=rf"and has none at {re.escape(names)}; a \? in the name"):
        checked(url)


def test_several_hosts_are_those_of_postgresql() -> None:
    with pytest.raises(ValueError, match="each parameter once, and has more than one: host"):
        checked("mysql:///db?host=a&host=b")
