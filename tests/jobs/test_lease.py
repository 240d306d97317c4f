"""The lease: one process ingests, and another takes over when it is gone."""

import pytest
from sqlalchemy import text

from database import Database, Unavailable
from jobs.lease import Lease
from tests.support import wait_for

END_THE_HOLDER = {
    "postgresql": "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    "mysql": "KILL {holder}",
}


def test_one_holds_it_and_the_other_gets_it_afterwards(database: Database) -> None:
    first, second = Lease(database, "ingest"), Lease(database, "ingest")
    assert first.acquire()
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    second.release()


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
@pytest.mark.parametrize(
    "noticed", [False, True], ids=["unnoticed", "noticed by a batch that failed"]
)
def test_who_loses_the_connection_loses_the_lease(database: Database, noticed: bool) -> None:
    dialect = database.engine.dialect.name
    first, second = Lease(database, "ingest"), Lease(database, "ingest")
    assert first.acquire()
    holder = (
        first.connection.execute(text("SELECT CONNECTION_ID()")).scalar()
        if dialect == "mysql"
        else None
    )
    first.connection.commit()
    with database.write() as connection:
        connection.execute(text(END_THE_HOLDER[dialect].format(holder=holder)))
        connection.commit()
    wait_for(second.acquire, what="the server to end the connection")
    if noticed:
        with pytest.raises(Unavailable), database.transaction(first.connection):
            first.connection.execute(text("SELECT 1"))
    assert not first.confirm()
    second.release()
    assert first.confirm()
    first.release()
