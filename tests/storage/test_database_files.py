"""A SQLite file that is deleted, renamed or replaced while it is used: nothing is acknowledged that nobody can read."""

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

import queries.ingest_status
import queries.installation
from config import Settings
from database import Database, Unavailable
from ingest.ingester import Ingester
from jobs.lease import Lease
from storage.dialect import Row
from streams.registry import Streams
from tests.pipelines import new_pipeline
from tests.rows import MOMENT, row
from tests.support import Mosquitto, payload, publishing, wait_for

pytestmark = pytest.mark.long

Deed = Callable[[Path], None]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder / "sensors.db"


@pytest.fixture
def database(file: Path, streams: Streams) -> Iterator[Database]:
    made = opened(file, streams)
    yield made
    made.close()


@pytest.fixture
def lease(database: Database) -> Iterator[Lease]:
    made = Lease(database, "ingest")
    assert made.acquire()
    yield made
    made.release()


def opened(file: Path, streams: Streams) -> Database:
    made = Database(make_url(f"sqlite:///{file}"), streams)
    made.prepare()
    return made


def store(database: Database, lease: Lease, *rows: Row) -> None:
    """Commit rows as the ingester does."""
    lease.confirm()
    connection = lease.connection
    with database.transaction(connection):
        database.write_batch(connection, database.tables["sensors"], rows, MOMENT)


def tried(attempt: Callable[[], None]) -> bool:
    with contextlib.suppress(Unavailable):
        attempt()
        return True
    return False


def stored(file: Path) -> list[int]:
    """The fingerprints in a file, as another program reads them."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [
            number
            for (number,) in connection.execute(
                "SELECT fingerprint FROM sensor_readings ORDER BY 1"
            )
        ]


def back_up(file: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(file)) as source,
        contextlib.closing(sqlite3.connect(aside(file))) as copy,
    ):
        source.backup(copy)


def aside(file: Path) -> Path:
    return file.parent.parent / "aside.db"


def delete(*suffixes: str) -> Deed:
    def deed(file: Path) -> None:
        for suffix in suffixes:
            Path(f"{file}{suffix}").unlink()

    return deed


def rename(file: Path) -> None:
    file.rename(file.with_name("renamed.db"))


def put_the_backup_in_its_place(file: Path) -> None:
    aside(file).rename(file)


def copy_the_backup_over_it(file: Path) -> None:
    shutil.copyfile(aside(file), file)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def empty_without_log(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    empty(file)


def rename_the_folder(file: Path) -> None:
    file.parent.rename(file.parent.with_name("moved"))
    file.parent.mkdir()


def put_another_folder_in_its_place(file: Path) -> None:
    rename_the_folder(file)
    aside(file).rename(file)


NONE_LEFT: list[int] = []
DEEDS = [
    pytest.param(delete(""), NONE_LEFT, id="deleted"),
    pytest.param(delete("", "-wal", "-shm"), NONE_LEFT, id="deleted with its log"),
    pytest.param(
        delete("", "-wal", "-shm", ".ingest.lock"), NONE_LEFT, id="deleted with its log and lock"
    ),
    pytest.param(rename, NONE_LEFT, id="renamed"),
    pytest.param(put_the_backup_in_its_place, [1], id="replaced by a backup"),
    pytest.param(delete("-wal"), [1, 2], id="its log deleted"),
    pytest.param(delete("-shm"), [1, 2], id="its index deleted"),
    pytest.param(delete("-wal", "-shm"), [1, 2], id="its log and index deleted"),
    pytest.param(delete(".ingest.lock"), [1, 2], id="its lock deleted"),
    pytest.param(empty, [1, 2], id="emptied, and all of it in the log"),
    pytest.param(empty_without_log, NONE_LEFT, id="emptied"),
    pytest.param(rename_the_folder, NONE_LEFT, id="its folder renamed"),
    pytest.param(put_another_folder_in_its_place, [1], id="its folder replaced"),
]


@pytest.mark.database
@pytest.mark.parametrize(("deed", "left"), DEEDS)
def test_what_is_acknowledged_is_in_the_file_that_has_the_name(
    database: Database, lease: Lease, file: Path, deed: Deed, left: list[int]
) -> None:
    store(database, lease, row(fingerprint=1))
    back_up(file)
    store(database, lease, row(fingerprint=2))
    deed(file)
    wait_for(lambda: tried(lambda: store(database, lease, row(fingerprint=3))), what="the file")
    assert stored(file) == [*left, 3]
    store(database, lease, row(fingerprint=4))
    lease.release()
    database.close()
    assert stored(file) == [*left, 3, 4]


@pytest.mark.database
@pytest.mark.parametrize(
    ("deed", "left"), [deed for deed in DEEDS if deed.id != "its lock deleted"]
)
def test_a_batch_that_went_into_another_file_is_not_acknowledged(
    database: Database, lease: Lease, file: Path, deed: Deed, left: list[int]
) -> None:
    store(database, lease, row(fingerprint=1))
    back_up(file)
    store(database, lease, row(fingerprint=2))
    connection = lease.connection
    with pytest.raises(Unavailable), database.transaction(connection):  # noqa: PT012 - it is the end that raises
        database.write_batch(connection, database.tables["sensors"], [row(fingerprint=3)], MOMENT)
        deed(file)
    wait_for(lambda: tried(lambda: store(database, lease, row(fingerprint=4))), what="the file")
    assert {*left, 4} <= set(stored(file)) <= {1, 2, 3, 4}


@pytest.mark.database
@pytest.mark.parametrize(("deed", "left"), DEEDS)
def test_what_is_posted_is_answered_once_it_is_in_the_file_that_has_the_name(
    database: Database, file: Path, deed: Deed, left: list[int]
) -> None:
    def post(number: int) -> None:
        with database.write() as connection, database.transaction(connection):
            database.write_batch(
                connection, database.tables["sensors"], [row(fingerprint=number)], MOMENT
            )

    post(1)
    back_up(file)
    post(2)
    with contextlib.suppress(FileNotFoundError):
        deed(file)
    wait_for(lambda: tried(lambda: post(3)), what="the file")
    assert stored(file) == [*left, 3]


@pytest.mark.database
def test_a_renamed_file_takes_with_it_what_was_only_in_its_log(
    database: Database, lease: Lease, file: Path
) -> None:
    store(database, lease, row(fingerprint=1))
    rename(file)
    wait_for(lambda: tried(lambda: store(database, lease, row(fingerprint=2))), what="the file")
    assert stored(file.with_name("renamed.db")) == [1]


@pytest.mark.database
@pytest.mark.parametrize("rows", [1, 3000], ids=["as large", "smaller"])
def test_a_backup_that_is_copied_over_the_open_file_is_taken_as_it_is(
    database: Database, lease: Lease, file: Path, rows: int
) -> None:
    store(database, lease, row(fingerprint=1))
    database.checkpoint(lease.connection)
    back_up(file)
    store(database, lease, *(row(fingerprint=number + 1) for number in range(1, rows + 1)))
    database.checkpoint(lease.connection)
    copy_the_backup_over_it(file)
    wait_for(lambda: tried(lambda: store(database, lease, row(fingerprint=9999))), what="the file")
    assert stored(file) == [1, 9999]


@pytest.mark.database
def test_the_file_holds_everything_by_itself_once_a_process_has_ended_while_others_go_on(
    database: Database, lease: Lease, file: Path, streams: Streams
) -> None:
    other = opened(file, streams)
    with other.write() as connection, other.transaction(connection):
        other.write_batch(connection, other.tables["sensors"], [row(fingerprint=1)], MOMENT)
    other.close()
    copy = file.with_name("copy.db")
    shutil.copyfile(file, copy)
    assert stored(copy) == [1]


@pytest.mark.database
def test_a_file_that_vacuum_made_smaller_is_still_the_same(
    database: Database, lease: Lease, file: Path
) -> None:
    store(database, lease, *(row(fingerprint=number) for number in range(1, 3000)))
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("DELETE FROM sensor_readings WHERE fingerprint > 1")
        other.commit()
        other.execute("VACUUM")
        other.execute("PRAGMA wal_checkpoint")
    with database.transaction(lease.connection):
        database.write_batch(
            lease.connection, database.tables["sensors"], [row(fingerprint=3000)], MOMENT
        )
    assert (stored(file), lease.taken) == ([1, 3000], 1)


@pytest.mark.database
def test_two_processes_save_together_what_was_in_a_deleted_log(
    database: Database, lease: Lease, file: Path, streams: Streams
) -> None:
    other = opened(file, streams)
    store(database, lease, row(fingerprint=1))
    with other.write() as connection, other.transaction(connection):
        other.write_batch(connection, other.tables["sensors"], [row(fingerprint=2)], MOMENT)
    Path(f"{file}-wal").unlink()
    newcomer = Database(make_url(f"sqlite:///{file}"), streams)
    with (
        contextlib.suppress(Unavailable),
        newcomer.write() as connection,
        newcomer.transaction(connection),
    ):
        newcomer.write_batch(connection, newcomer.tables["sensors"], [row(fingerprint=3)], MOMENT)
    wait_for(
        lambda: tried(lambda: store(database, lease, row(fingerprint=4))), what="the first process"
    )

    def write() -> None:
        with other.write() as connection, other.transaction(connection):
            other.write_batch(connection, other.tables["sensors"], [row(fingerprint=5)], MOMENT)

    wait_for(lambda: tried(write), what="the second process")
    assert [number for number in stored(file) if number != 3] == [1, 2, 4, 5]
    other.close()
    newcomer.close()


@pytest.mark.database
def test_a_database_made_anew_keeps_the_client_id_so_that_the_session_goes_on(
    database: Database, lease: Lease, file: Path
) -> None:
    with database.read() as reader:
        database.client_id = before = queries.installation.client_id(reader)
    file.unlink()
    wait_for(lambda: tried(lambda: store(database, lease, row())), what="the file")
    with database.read() as reader:
        assert queries.installation.client_id(reader) == before


@pytest.mark.database
def test_who_loses_the_lock_file_and_finds_another_holder_ends_its_turn(
    database: Database, lease: Lease, file: Path
) -> None:
    Path(f"{file}.ingest.lock").unlink()
    second = Lease(database, "ingest")
    assert second.acquire()
    with pytest.raises(Unavailable):
        _ = lease.connection
    assert not lease.confirm()
    second.release()


@pytest.mark.database
@pytest.mark.parametrize("name", ["alias.db", "folder/sensors.db", "../data/sensors.db"])
def test_processes_that_name_one_file_differently_share_its_lock(
    database: Database, lease: Lease, file: Path, streams: Streams, name: str
) -> None:
    (file.parent / "alias.db").symlink_to(file)
    (file.parent / "folder").symlink_to(file.parent)
    other = Database(make_url(f"sqlite:///{file.parent / name}"), streams)
    assert not Lease(other, "ingest").acquire()
    other.close()


@pytest.mark.database
def test_a_connection_that_was_opened_read_only_does_not_stay_so(
    database: Database, lease: Lease, file: Path
) -> None:
    connection = lease.connection
    connection.connection.cursor().execute("PRAGMA query_only=ON")
    with pytest.raises(Unavailable, match="read-only"), database.transaction(connection):
        database.write_batch(connection, database.tables["sensors"], [row()], MOMENT)
    store(database, lease, row())
    assert stored(file) == [1]


@pytest.mark.parametrize(
    "deed",
    [delete("", "-wal", "-shm"), delete("-wal"), put_the_backup_in_its_place],
    ids=["deleted", "log", "replaced"],
)
def test_every_message_the_broker_took_after_the_deed_is_stored(
    settings: Callable[..., Settings],
    mosquitto: Mosquitto,
    database: Database,
    streams: Streams,
    file: Path,
    deed: Deed,
) -> None:
    ingester = Ingester(
        settings(mqtt_port=mosquitto.port), database, streams, new_pipeline(database, streams)
    )
    ingester.start()
    with publishing(mosquitto.port) as publish:
        wait_for(lambda: subscribed(database), what="the subscription")
        publish("sensors/before/data", payload())
        wait_for(lambda: len(stored(file)) == 1)
        back_up(file)
        deed(file)
        for number in range(50):
            publish(f"sensors/{number}/data", payload(timestamp=1_790_000_000 + number))
    wait_for(lambda: len(devices(file) - {"before"}) == 50, what="all that was published")
    ingester.stop()
    assert len(stored(file)) - ("before" in devices(file)) == 50


def subscribed(database: Database) -> bool:
    with contextlib.suppress(Unavailable), database.read() as reader:
        return queries.ingest_status.ingest_status(reader)["mqtt"].subscribed
    return False


def devices(file: Path) -> set[str]:
    # At first there is no table, and for the moment of a rename no file.
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(f"file:{file}?mode=rw", uri=True)) as db,
    ):
        return {device for (device,) in db.execute("SELECT device_id FROM sensor_readings")}
    return set()
