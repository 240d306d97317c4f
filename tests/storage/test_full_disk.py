"""A disk that is full for a while, really: what was published is stored once there is room again."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from database import Database, Unavailable
from streams.registry import Streams
from tests.faults import Plant, plant
from tests.support import Mosquitto, PostgresServer, missing, wait_for

MESSAGES = 6_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        missing("a user who may mount a file system")
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m,mode=755", "tmpfs", str(place)], check=True
    )
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """As long as this lasts, the disk has no room."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4_096):
            continue
    yield
    filler.unlink()


def fill_and_empty(made: Plant, disk: Path) -> None:
    made.start()
    wait_for(
        lambda: "Subscribed" in made.ingester.console.read_text(), what="the first subscription"
    )
    made.publish(MESSAGES // 3)()
    made.wait_until_stored(made.published)
    with full(disk):
        made.publish(MESSAGES // 3)()
        wait_for(
            lambda: "the disk is full" in made.ingester.console.read_text(),
            seconds=60,
            what="a word of it",
        )
        assert made.stored() < made.published
    made.publish(MESSAGES // 3)()
    made.assert_everything_is_stored_once()


@pytest.mark.chaos
def test_a_full_disk_of_sqlite_loses_and_doubles_nothing(
    tmp_path: Path, disk: Path, mosquitto: Mosquitto, request: pytest.FixtureRequest
) -> None:
    fill_and_empty(plant(tmp_path, mosquitto, f"sqlite:///{disk}/test.db", request), disk)


@pytest.mark.chaos
@pytest.mark.process
def test_a_disk_without_a_free_byte_is_named_at_the_first_start(
    disk: Path, streams: Streams
) -> None:
    made = Database(make_url(f"sqlite:///{disk}/test.db"), streams)
    with full(disk), pytest.raises(Unavailable, match="the disk is full"):
        made.prepare()
    made.prepare()
    made.close()


@pytest.mark.chaos
def test_a_full_disk_of_postgresql_loses_and_doubles_nothing(
    tmp_path: Path,
    disk: Path,
    mosquitto: Mosquitto,
    own_postgres: PostgresServer,
    request: pytest.FixtureRequest,
) -> None:
    # Started by root, PostgreSQL runs as another user.
    for folder in (disk, *disk.parents):
        if folder.stat().st_uid == os.geteuid() and folder.is_relative_to(tmp_path.parent.parent):
            folder.chmod(0o755)
    url = make_url(own_postgres.url)
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        data = Path(str(connection.execute(text("SHOW data_directory")).scalar()))
        owner = data.stat()
        (disk / "space").mkdir()
        os.chown(disk / "space", owner.st_uid, owner.st_gid)
        connection.execute(text(f"CREATE TABLESPACE small LOCATION '{disk}/space'"))
        connection.execute(text("CREATE DATABASE plant TABLESPACE small"))
    engine.dispose()
    made = plant(
        tmp_path,
        mosquitto,
        url.set(database="plant").render_as_string(hide_password=False),
        request,
    )
    fill_and_empty(made, disk)
