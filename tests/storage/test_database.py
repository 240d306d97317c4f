"""The database: schema, batches, locks; the same on every kind."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

import queries.installation
import queries.newest
import queries.reader
import queries.readings
from config import PROJECT
from database import Database, Unavailable
from storage.dialects import dialect_of
from streams import declaration
from streams.registry import Streams
from tests.rows import MOMENT, forbid_666, row, write
from tests.support import DEVICE_TOPICS, prepared_database


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/test.db"


def test_it_stores_a_reading(database: Database) -> None:
    assert write(database, row()) == 1
    with database.read() as reader:
        stored = queries.newest.latest(reader, database.tables["sensors"], "ESP32_001")
    assert stored is not None
    assert (stored["timestamp"], stored["temperature"]) == (MOMENT, 24.5)


def test_it_stores_the_same_reading_once(database: Database) -> None:
    assert write(database, row(), row(), row(fingerprint=2)) == 2
    assert write(database, row(), row(fingerprint=3)) == 1


def test_it_sets_aside_a_row_that_the_database_refuses_and_keeps_its_neighbours(
    database: Database,
) -> None:
    forbid_666(database)
    rows = [
        row(fingerprint=number, temperature=666.0 if number in (3, 8) else 20.0)
        for number in range(10)
    ]
    with database.write() as connection, database.transaction(connection):
        result = database.write_batch(connection, database.tables["sensors"], rows, MOMENT)
    assert result.stored == 8
    assert [refused.row for refused in result.refused] == [3, 8]
    assert all("666" in refused.reason for refused in result.refused)


@pytest.mark.parametrize("value", [5e-324, 1.7976931348623157e308, 0.1 + 0.2])
def test_it_keeps_every_bit_of_a_number(database: Database, value: float) -> None:
    write(database, row(temperature=value))
    with database.read() as reader:
        stored = queries.newest.latest(reader, database.tables["sensors"])
    assert stored is not None
    assert repr(stored["temperature"]) == repr(value)


@pytest.mark.parametrize(
    "device", ["a'); DROP TABLE sensor_readings; --", "tab\\t", "\\N", "Ä", "\U0001f321", "%s", "?"]
)
def test_it_keeps_a_device_id_as_it_is(database: Database, device: str) -> None:
    write(database, row(device=device))
    with database.read() as reader:
        assert queries.newest.latest(reader, database.tables["sensors"], device)


def test_devices_whose_ids_look_alike_are_different_devices(database: Database) -> None:
    names = ["esp", "ESP", "caf\u00e9", "cafe\u0301", "Straße", "Strasse"]
    assert write(database, *(row(device=name) for name in names)) == len(names)
    with database.read() as reader:
        for name in names:
            stored = queries.newest.latest(reader, database.tables["sensors"], name)
            assert stored is not None
            assert stored["device_id"] == name


def test_preparing_twice_changes_nothing(database: Database) -> None:
    write(database, row())
    database.prepare()
    with database.read() as reader:
        assert queries.readings.newest_id(reader, database.tables["sensors"]) == 1


def test_the_mqtt_client_id_belongs_to_the_database(database: Database) -> None:
    with database.read() as reader:
        first = queries.installation.installation(reader).client_id
    database.prepare()
    with database.read() as reader:
        assert queries.installation.installation(reader).client_id == first
    assert first.startswith("autoforge-")


def test_a_client_id_that_was_served_is_replaced_and_kept_until_its_session_is_empty(
    bare_database_url: str, streams: Streams
) -> None:
    old = Database(make_url(bare_database_url), streams)
    configuration = Config()
    configuration.set_main_option("script_location", str(PROJECT / "migrations"))
    with old.engine.begin() as connection:
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "0003")
        connection.execute(
            text("INSERT INTO installation (id, client_id) VALUES (1, 'autoforge-0123456789ab')")
        )
    old.prepare()
    with old.read() as reader:
        now = queries.installation.installation(reader)
        assert now.retired_client_id == "autoforge-0123456789ab"
        assert len({now.client_id, now.retired_client_id, now.notices_id}) == 3
        assert now.client_id.startswith("autoforge-")
    old.close()


def test_several_processes_may_prepare_at_once(bare_database_url: str, streams: Streams) -> None:
    databases = [Database(make_url(bare_database_url), streams) for _ in range(4)]
    failures: list[BaseException] = []

    def prepare(database: Database) -> None:
        try:
            database.prepare()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            failures.append(error)

    threads = [threading.Thread(target=prepare, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert write(databases[0], row()) == 1
    for database in databases:
        database.close()


@pytest.mark.database
def test_many_may_open_a_new_sqlite_file_at_once(tmp_path: Path) -> None:
    failures: list[OperationalError] = []

    def connect(engine: Engine, together: threading.Barrier) -> None:
        together.wait()
        try:
            engine.connect().close()
        except OperationalError as error:
            failures.append(error)
        engine.dispose()

    for number in range(50):
        together = threading.Barrier(8)
        engines = [
            dialect_of(make_url(f"sqlite:///{tmp_path}/{number}.db")).create_engine()
            for _ in range(8)
        ]
        threads = [threading.Thread(target=connect, args=(engine, together)) for engine in engines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


@pytest.fixture
def declared(tmp_path: Path) -> Path:
    folder = tmp_path / "declared"
    folder.mkdir()
    return folder


def declare(folder: Path, *metrics: str) -> Streams:
    lines = ['topic = "air/{device_id}"', *metrics]
    (folder / "air.toml").write_text("\n".join(lines))
    return declaration.load(folder, {}, DEVICE_TOPICS)


def test_a_new_metric_adds_its_column_and_keeps_the_rows(database_url: str, declared: Path) -> None:
    before = Database(make_url(database_url), declare(declared, "[metrics.CO2]"))
    before.prepare()
    with before.write() as connection, before.transaction(connection):
        before.write_batch(
            connection, before.tables["air"], [("a", MOMENT, None, 400.0, 1)], MOMENT
        )
    before.close()
    state = '[metrics.state]\ntype = "text"\nsimulate = { states = ["on"] }'
    after = Database(
        make_url(database_url), declare(declared, "[metrics.CO2]", "[metrics.pH]", state)
    )
    after.prepare()
    with after.read() as reader:
        stored = queries.newest.latest(reader, after.tables["air"])
    after.close()
    assert stored is not None
    assert (stored["CO2"], stored["pH"], stored["state"]) == (400.0, None, None)


@pytest.mark.database
def test_a_metric_that_is_no_longer_declared_keeps_its_column(
    sqlite_url: str, declared: Path
) -> None:
    both = Database(make_url(sqlite_url), declare(declared, "[metrics.CO2]", "[metrics.pH]"))
    both.prepare()
    both.close()
    one = Database(make_url(sqlite_url), declare(declared, "[metrics.pH]"))
    one.prepare()
    with one.write() as connection, one.transaction(connection):
        one.write_batch(connection, one.tables["air"], [("a", MOMENT, None, 7.0, 1)], MOMENT)
    with one.write() as connection:
        assert connection.execute(text('SELECT "CO2", "pH" FROM air_readings')).one() == (None, 7.0)
    one.close()


def test_a_metric_that_changes_its_type_makes_its_stream_unusable_with_a_sentence(
    database_url: str, declared: Path
) -> None:
    number = Database(make_url(database_url), declare(declared, "[metrics.state]"))
    number.prepare()
    number.close()
    state = '[metrics.state]\ntype = "text"\nsimulate = { states = ["on"] }'
    changed = Database(make_url(database_url), declare(declared, state))
    changed.prepare()
    changed.close()
    assert "table air_readings: column state holds number" in changed.unusable["air"]


@pytest.mark.broker
@pytest.mark.parametrize(
    "url",
    ["postgresql+psycopg2://u:secret@127.0.0.1:1/x", "mysql+pymysql://u:secret@127.0.0.1:1/x"],
)
def test_a_database_that_is_away_is_unavailable_and_its_password_stays_secret(
    url: str, streams: Streams
) -> None:
    database = Database(make_url(url), streams)
    with pytest.raises(Unavailable) as caught, database.read() as reader:
        queries.reader.ping(reader)
    assert "secret" not in f"{caught.value} {database}"


def test_the_lock_is_held_by_one_connection_at_a_time(database: Database) -> None:
    with database.write() as first, database.write() as second:
        held, wanted = database.lock(first, "ingest"), database.lock(second, "ingest")
        assert held.acquire(0)
        assert not wanted.acquire(0)
        held.release()
        assert wanted.acquire(0)
        wanted.release()


@pytest.mark.database
def test_sqlite_writes_every_commit_to_the_disk(sqlite_url: str, streams: Streams) -> None:
    database = Database(make_url(sqlite_url), streams)
    with database.write() as connection:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous")
        ]
    database.close()
    assert pragmas == ["wal", 2]


@pytest.mark.database
def test_of_forty_threads_that_write_all_the_time_none_is_turned_away(
    sqlite_url: str, streams: Streams
) -> None:
    until = time.monotonic() + 3

    def write_on(database: Database) -> None:
        while time.monotonic() < until:
            with database.write() as connection, database.transaction(connection):
                connection.execute(text("UPDATE commands SET status = 'failed'"))
                time.sleep(0.01)

    # SQLite itself turns away a writer that has found it locked for a second.
    with (
        prepared_database(f"{sqlite_url}?timeout=1", streams) as database,
        ThreadPoolExecutor(40) as pool,
    ):
        for writer in [pool.submit(write_on, database) for _ in range(40)]:
            writer.result()
