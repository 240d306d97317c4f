"""A database as part 4 left it: its schema, readings with the keys of then, and a session at a broker."""

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime, timedelta

from alembic import command
from alembic.config import Config
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Index,
    MetaData,
    String,
    Table,
    create_engine,
    insert,
    text,
)

from columns import MYSQL_OPTIONS, Identifier, Timestamp
from config import PROJECT

CLIENT_ID = "autoforge-0123456789ab"
FIRST = datetime(2026, 6, 1)
METRICS = {
    "sensors": ("temperature", "vibration", "gas", "power"),
    "panels": ("voltage", "ampere", "power", "energy_cost"),
}
TABLES = {"sensors": "sensor_readings", "panels": "panels_readings"}


def message(number: int) -> tuple[str, str]:
    """Topic and payload of a reading of `sensors`, spelt as a device does."""
    said = {"temperature": 20 + number % 100 / 10, "vibration": 12, "gas": 450.0, "power": 250.5}
    moment = FIRST + timedelta(seconds=number // 10)
    return f"sensors/board-{number % 10}/data", json.dumps(said | {"timestamp": moment.isoformat()})


def make(url: str, readings: int) -> None:
    """Make the database with so many readings of `sensors`, and a tenth as many of `panels`."""
    engine = create_engine(url)
    with engine.begin() as connection:
        command.upgrade(migrations(connection), "0003")
        tables = {name: _reading_table(name) for name in TABLES}
        for table in tables.values():
            table.create(connection)
        for begin in range(0, readings, 5_000):
            rows = [_row(number) for number in range(begin, min(begin + 5_000, readings))]
            connection.execute(insert(tables["sensors"]), rows)
        connection.execute(insert(tables["panels"]), list(_panel_rows(readings // 10)))
        connection.execute(
            text("INSERT INTO installation (id, client_id) VALUES (1, :client_id)"),
            {"client_id": CLIENT_ID},
        )
    engine.dispose()


def _reading_table(stream: str) -> Table:
    name = TABLES[stream]
    return Table(
        name,
        MetaData(),
        Column("id", Identifier, primary_key=True),
        Column("device_id", String(128), nullable=False),
        Column("timestamp", Timestamp, nullable=False),
        Column("device_timestamp", String(64)),
        *[Column(metric, Double()) for metric in METRICS[stream]],
        Column("fingerprint", BigInteger, nullable=False),
        Column("created_at", Timestamp, nullable=False),
        Index(f"uq_{name}", "device_id", "timestamp", "fingerprint", unique=True),
        Index(f"ix_{name}_timestamp", "timestamp"),
        Index(f"ix_{name}_created_at", "created_at"),
        **MYSQL_OPTIONS,
    )


def _row(number: int) -> dict[str, object]:
    topic, payload = message(number)
    said = json.loads(payload)
    moment = datetime.fromisoformat(said.pop("timestamp"))
    own = {
        "device_id": topic.split("/")[1],
        "timestamp": moment,
        "created_at": moment + timedelta(seconds=1),
    }
    return {**said, **own, "fingerprint": _old_key(topic, payload)}


def _panel_rows(count: int) -> Iterator[dict[str, object]]:
    for number in range(count):
        names = METRICS["panels"]
        moment = FIRST + timedelta(seconds=number)
        own = {"device_id": f"trafo{number % 3}", "timestamp": moment, "created_at": moment}
        values = {
            name: float(number) if place == number % 3 else None for place, name in enumerate(names)
        }
        yield {**values, **own, "fingerprint": number}


def _old_key(topic: str, payload: str) -> int:
    digest = hashlib.blake2b(f"{topic}\0{payload}".encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "big", signed=True)


def migrations(connection: Connection) -> Config:
    """The migrations, on a connection."""
    configuration = Config()
    configuration.set_main_option("script_location", str(PROJECT / "migrations"))
    configuration.attributes["connection"] = connection
    return configuration


def downgrade(connection: Connection, revision: str) -> None:
    """Bring the fixed tables back to a revision."""
    command.downgrade(migrations(connection), revision)
