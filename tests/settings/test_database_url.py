"""What DATABASE_URL says beside the place: it holds, and what AutoForge needs is added to it."""

import os
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from config import SettingsError
from database import Database, Unavailable
from streams.registry import Streams
from utils.database_url import file_of


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
        ({"charset": "latin1"}, "SELECT @@character_set_client", "utf8mb4"),
        ({"charset": "utf8"}, "SELECT @@character_set_client", "utf8mb4"),
        ({"autocommit": "true"}, "SELECT @@autocommit", 0),
        ({"autocommit": "false"}, "SELECT @@autocommit", 0),
        ({"read_timeout": "7", "client_flag": "2"}, "SELECT @@lock_wait_timeout", 5),
    ],
)
def test_mariadb_takes_the_parameters_of_the_url(
    database_url: str, streams: Streams, query: dict[str, str], question: str, answer: object
) -> None:
    assert asked(with_query(database_url, **query), streams, question) == answer


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


@pytest.mark.parametrize(
    ("database_url", "query"),
    [
        ("sqlite", {"timeout": "soon"}),
        ("mariadb", {"pasword": "x"}),
        ("mariadb", {"connect_timeout": "soon"}),
        ("mariadb", {"client_flag": "x"}),
        ("mariadb", {"ssl_ca": "/nowhere.pem"}),
        ("postgresql", {"colour": "red"}),
    ],
    indirect=["database_url"],
)
def test_a_parameter_that_no_driver_takes_is_told(
    database_url: str, query: dict[str, str], streams: Streams
) -> None:
    with pytest.raises((SettingsError, Unavailable), match=r"DATABASE_URL|colour"):
        Database(make_url(with_query(database_url, **query)), streams).prepare()
