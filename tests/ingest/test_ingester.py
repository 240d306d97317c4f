"""The ingester: what it says of itself while the database does not take what it has received."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

import queries.ingest_status
from config import Settings
from database import Database
from ingest.ingester import Ingester
from models import IngestStatus
from streams.registry import Streams
from tests.pipelines import new_pipeline
from tests.support import payload, publishing, wait_for

pytestmark = pytest.mark.process

LOCK = {
    "postgresql": "LOCK TABLE sensor_readings",
    "mysql": "LOCK TABLES sensor_readings WRITE",
}


@pytest.fixture
def ingester(
    settings: Callable[..., Settings], fast_broker: int, database: Database, streams: Streams
) -> Iterator[Ingester]:
    """An ingester that runs, on a database of each kind in turn."""
    made = Ingester(
        settings(mqtt_port=fast_broker), database, streams, new_pipeline(database, streams)
    )
    made.start()
    wait_for(lambda: status(database).subscribed, what="the subscription")
    yield made
    made.stop()


def status(database: Database) -> IngestStatus:
    """What the ingester last said."""
    with database.read() as reader:
        return queries.ingest_status.ingest_status(reader)["mqtt"]


def test_a_batch_that_cannot_be_stored_is_a_problem_until_it_is(
    ingester: Ingester, fast_broker: int, database: Database
) -> None:
    with database.write() as connection, database.transaction(connection):
        connection.execute(text("ALTER TABLE sensor_readings RENAME TO elsewhere"))
    with publishing(fast_broker) as publish:
        publish("sensors/ESP32_001/data", payload())
        wait_for(lambda: "1 messages wait for the database" in (status(database).problem or ""))
        with database.write() as connection, database.transaction(connection):
            connection.execute(text("ALTER TABLE elsewhere RENAME TO sensor_readings"))
        wait_for(lambda: status(database).problem is None)
    assert status(database).stored == 1


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
def test_a_locked_table_makes_it_wait_and_does_not_hang_it(
    ingester: Ingester, fast_broker: int, database: Database
) -> None:
    with database.write() as locking, publishing(fast_broker) as publish:
        locking.execute(text(LOCK[database.engine.dialect.name]))
        publish("sensors/ESP32_001/data", payload())
        wait_for(lambda: "wait for the database" in (status(database).problem or ""))
        locking.invalidate()
    wait_for(lambda: status(database).stored == 1)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_log_has_the_second_rejection_of_a_kind_too(
    ingester: Ingester, fast_broker: int, caplog: pytest.LogCaptureFixture
) -> None:
    def told(device: str) -> bool:
        return any(f"'sensors/{device}/data': invalid_json" in line for line in caplog.messages)

    with publishing(fast_broker) as publish:
        publish("sensors/first/data", "{")
        publish("sensors/second/data", "{")
    wait_for(lambda: told("first") and told("second"), what="both in the log")
