"""The states of a command: what each acknowledgement does to each of them, on every kind of database."""

import itertools
import random
import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

import queries.commands
from broker.message import Message
from database import Database
from ingest.acknowledgements import (
    ANSWERS,
    Acknowledgement,
    Acknowledgements,
    AckStatus,
    CommandState,
    judge,
)
from ingest.message import Rejection
from ingest.outcome import Applied
from queries.commands import EXPIRED, FINAL, INTERRUPTED, OPEN
from tests.commands import AFTER, BEFORE, put, statuses, stored
from tests.parsing import RECEIVED as NOW
from tests.support import DEVICE_TOPICS
from utils import clock
from utils.clock import Uptime

ACKNOWLEDGEMENTS = Acknowledgements(DEVICE_TOPICS.ack)
TICK = timedelta(microseconds=1)
YEAR = timedelta(days=365)
HERE = Uptime("this run", 1000.0)
LATE, CONTRADICTS = "late_acknowledgement", "command_is_final"
ENDED = ("succeeded", "failed", "rejected")


def ack(
    command_id: str,
    status: AckStatus,
    device_id: str = "a",
    reason: str | None = None,
    result: str | None = None,
) -> Acknowledgement:
    return Acknowledgement(
        device_id, Message("control/a/ack", b"", NOW), command_id, status, reason, result
    )


def state(status: str, device_id: str = "a", **changes: Any) -> CommandState:
    """A command that expires at AFTER."""
    return CommandState(device_id, status, None, None, AFTER)._replace(**changes)


def verdict(known: CommandState | None, said: Acknowledgement, late: bool = False) -> str:
    """The verdict, or the reason of the rejection."""
    found = judge(known, said, AFTER if late else NOW, HERE)
    return found.reason if isinstance(found, Rejection) else found


# judge


@pytest.mark.parametrize(
    ("boot", "deadline", "moment", "found"),
    [
        pytest.param(
            "this run", 1060.0, AFTER + YEAR, "change", id="a clock that was set a year ahead"
        ),
        pytest.param("this run", 1000.0, AFTER - YEAR, LATE, id="a clock that was set a year back"),
        pytest.param(
            "another run",
            1060.0,
            AFTER,
            LATE,
            id="issued before the machine was started, or on another",
        ),
        pytest.param(None, None, AFTER, LATE, id="issued where nothing tells the run"),
    ],
)
def test_no_change_of_the_clock_makes_an_answer_late(
    boot: str | None, deadline: float | None, moment: datetime, found: str
) -> None:
    said = judge(state("sent", boot=boot, deadline=deadline), ack("c", "succeeded"), moment, HERE)
    assert (said.reason if isinstance(said, Rejection) else said) == found


@pytest.mark.parametrize(
    "ahead", [YEAR, -YEAR, timedelta(0)], ids=["a year ahead", "a year back", "right"]
)
def test_no_change_of_the_clock_ends_a_command(database: Database, ahead: timedelta) -> None:
    up = clock.uptime()
    put(
        database,
        "here",
        boot=up.boot,
        deadline=up.seconds + 60,
        expires_at=NOW + timedelta(seconds=60),
    )
    put(database, "over", boot=up.boot, deadline=up.seconds, expires_at=NOW, status="succeeded")
    with database.read() as reader:
        assert queries.commands.due(reader, NOW + ahead, up) == []
        later = up._replace(seconds=up.seconds + 61)
        assert queries.commands.due(reader, NOW + ahead, later) == ["here"]


@pytest.mark.parametrize(
    ("status", "in_time", "late"),
    [
        #           in_progress, succeeded, failed, rejected
        ("pending", "change change change change", f"{LATE} {LATE} {LATE} {LATE}"),
        ("sent", "change change change change", f"{LATE} {LATE} {LATE} {LATE}"),
        ("in_progress", "repeat change change change", f"repeat {LATE} {LATE} {LATE}"),
        (
            "succeeded",
            f"repeat repeat {CONTRADICTS} {CONTRADICTS}",
            f"repeat repeat {CONTRADICTS} {CONTRADICTS}",
        ),
        (
            "failed",
            f"repeat {CONTRADICTS} repeat {CONTRADICTS}",
            f"repeat {CONTRADICTS} repeat {CONTRADICTS}",
        ),
        (
            "rejected",
            f"repeat {CONTRADICTS} {CONTRADICTS} repeat",
            f"repeat {CONTRADICTS} {CONTRADICTS} repeat",
        ),
        ("expired", f"{LATE} {LATE} {LATE} {LATE}", f"{LATE} {LATE} {LATE} {LATE}"),
    ],
)
def test_each_answer_to_each_state_changes_it_or_repeats_it_or_cannot_be(
    status: str, in_time: str, late: str
) -> None:
    assert [verdict(state(status), ack("c", answer)) for answer in ANSWERS] == in_time.split()
    assert [
        verdict(state(status), ack("c", answer), late=True) for answer in ANSWERS
    ] == late.split()


def test_the_table_of_verdicts_has_every_state() -> None:
    assert {*OPEN, *FINAL} == {"pending", "sent", "in_progress", *ENDED, "expired"}


def test_an_answer_comes_too_late_from_the_very_moment_of_expiry() -> None:
    assert judge(state("sent"), ack("c", "succeeded"), AFTER - TICK, HERE) == "change"
    found = judge(state("sent"), ack("c", "succeeded"), AFTER, HERE)
    assert isinstance(found, Rejection)
    assert (
        found.text
        == "status: succeeded is too late; the command expired at 2026-01-29T14:30:47.000000Z"
    )


def test_progress_with_news_is_a_change_and_without_is_none() -> None:
    known = state("in_progress", reason="10 %", result="1")
    assert verdict(known, ack("c", "in_progress", reason="10 %", result="1")) == "repeat"
    assert verdict(known, ack("c", "in_progress", reason="20 %", result="1")) == "change"
    assert verdict(known, ack("c", "in_progress", reason="10 %", result="2")) == "change"
    assert verdict(known, ack("c", "in_progress", reason="20 %"), late=True) == LATE


def test_the_end_is_the_same_whatever_else_a_repetition_says() -> None:
    assert verdict(state("failed", reason="jammed"), ack("c", "failed", reason="other")) == "repeat"


@pytest.mark.parametrize(
    "known", [None, state("sent", device_id="b"), state("succeeded", device_id="b")]
)
def test_a_device_cannot_answer_for_a_command_it_was_not_sent(known: CommandState | None) -> None:
    found = judge(known, ack("c-1", "succeeded"), NOW, HERE)
    assert isinstance(found, Rejection)
    assert (found.stream, found.reason) == (None, "unknown_command")
    assert found.text.startswith("command_id: this device was sent no command")
    assert "c-1" in found.text


# acknowledge


def apply(database: Database, *said: Acknowledgement) -> Applied:
    with database.write() as connection, database.transaction(connection):
        return ACKNOWLEDGEMENTS.apply(connection, said, NOW)


def counts(applied: Applied) -> tuple[int, int, list[str], list[str]]:
    return (
        applied.stored,
        applied.duplicate,
        [item.reason for item in applied.rejections],
        applied.changes.commands,
    )


def test_what_a_device_says_is_stored_with_reason_and_result(database: Database) -> None:
    put(database, "c")
    assert counts(apply(database, ack("c", "in_progress", reason="10 %"))) == (1, 0, [], ["c"])
    assert stored(database, "c")["status"] == "in_progress"
    assert counts(apply(database, ack("c", "failed", reason="jämmed 🌡️", result='{"a":[1]}'))) == (
        1,
        0,
        [],
        ["c"],
    )
    row = stored(database, "c")
    assert (row["status"], row["reason"], row["result"]) == ("failed", "jämmed 🌡️", '{"a":[1]}')
    assert (row["updated_at"], row["expires_at"]) == (NOW, AFTER)


def test_one_batch_may_hold_the_whole_life_of_a_command(database: Database) -> None:
    put(database, "c")
    batch = [
        ack("c", "in_progress"),
        ack("c", "succeeded"),
        ack("c", "in_progress"),
        ack("c", "failed"),
    ]
    assert counts(apply(database, *batch, ack("c", "succeeded"))) == (
        2,
        2,
        ["command_is_final"],
        ["c"],
    )
    assert stored(database, "c")["status"] == "succeeded"


def test_ten_thousand_repetitions_are_one_change(database: Database) -> None:
    put(database, "c")
    assert counts(apply(database, *[ack("c", "succeeded")] * 10_000)) == (1, 9_999, [], ["c"])
    assert counts(apply(database, *[ack("c", "succeeded")] * 10_000)) == (0, 10_000, [], [])


def test_1200_commands_may_be_acknowledged_in_one_batch(database: Database) -> None:
    ids = [f"c{number:04}" for number in range(1200)]
    put(database, *ids)
    assert counts(apply(database, *[ack(command_id, "succeeded") for command_id in ids])) == (
        1200,
        0,
        [],
        ids,
    )
    assert set(statuses(database, ids)) == {"succeeded"}


def test_what_cannot_be_changes_nothing_and_sinks_no_neighbour(database: Database) -> None:
    put(database, "mine", "done")
    put(database, "theirs", device_id="b")
    put(database, "over", status="expired", reason=EXPIRED)
    put(database, "due", expires_at=NOW)
    wrong = [
        ack("theirs", "succeeded"),
        ack("over", "succeeded"),
        ack("due", "failed"),
        ack("no such", "succeeded"),
    ]
    applied = apply(
        database,
        *wrong,
        ack("mine", "succeeded"),
        ack("MINE", "succeeded"),
        ack("mine ", "succeeded"),
    )
    unknown = "unknown_command"
    assert counts(applied) == (1, 0, [unknown, LATE, LATE, unknown, unknown, unknown], ["mine"])
    ids = ["mine", "done", "theirs", "over", "due"]
    assert statuses(database, ids) == ["succeeded", "sent", "sent", "expired", "sent"]


def test_a_device_may_be_faster_than_the_broker(database: Database) -> None:
    put(database, "c", status="pending")
    apply(database, ack("c", "succeeded"))
    with database.write() as connection, database.transaction(connection):
        queries.commands.mark_sent(connection, "c", AFTER)
        queries.commands.mark_unsent(connection, "c", "not sent", AFTER)
    row = stored(database, "c")
    assert (row["status"], row["reason"], row["sent_at"]) == ("succeeded", None, AFTER)


def test_no_order_of_acknowledgements_changes_what_is_final(database: Database) -> None:
    source = random.Random(7)
    ids = [f"c{number}" for number in range(5)]
    put(database, *ids)
    said = [
        ack(source.choice(ids), source.choice(ANSWERS), source.choice("aab")) for _ in range(300)
    ]
    first_end: dict[str, str] = {}
    for item in said:
        if item.device_id == "a" and item.status in ENDED:
            first_end.setdefault(item.command_id, item.status)
    for size in itertools.cycle((1, 7, 40)):
        batch, said = said[:size], said[size:]
        applied = apply(database, *batch)
        if not batch:
            break
        assert applied.stored + applied.duplicate + len(applied.rejections) == len(batch)
    assert statuses(database, ids) == [first_end[command_id] for command_id in ids]


# create, mark_sent, mark_unsent, expire


def test_an_idempotency_key_cannot_be_used_twice_until_the_command_is_known_to_be_unsent(
    database: Database,
) -> None:
    put(database, "first", status="pending", idempotency_key="k")
    row = {key: value for key, value in stored(database, "first").items() if key != "id"}
    with database.engine.connect() as connection, pytest.raises(IntegrityError):
        queries.commands.create(connection, row | {"command_id": "second"})
    put(database, "K", status="pending", idempotency_key="K")
    with database.write() as connection, database.transaction(connection):
        queries.commands.mark_unsent(connection, "first", "not sent: " + "x" * 1000, NOW)
    assert (stored(database, "first")["status"], len(stored(database, "first")["reason"])) == (
        "failed",
        500,
    )
    put(database, "second", idempotency_key="k")


def expire(database: Database, *due: str) -> list[str]:
    with database.write() as connection, database.transaction(connection):
        return queries.commands.expire(connection, due, NOW, clock.uptime())


def test_only_what_is_due_and_open_expires_and_only_once(database: Database) -> None:
    put(database, "early", "now", "progress", expires_at=NOW)
    apply_early = [ack("progress", "in_progress")]
    with database.write() as connection, database.transaction(connection):
        ACKNOWLEDGEMENTS.apply(connection, apply_early, NOW)
    put(database, "later", expires_at=NOW + TICK)
    for status in FINAL:
        put(database, status, status=status, expires_at=BEFORE)
    put(database, "pending", status="pending", expires_at=BEFORE)
    everything = ["early", "now", "progress", "later", "pending", *FINAL, "no such"]
    with database.read() as reader:
        assert queries.commands.due(reader, NOW, HERE) == ["early", "now", "progress", "pending"]
    assert expire(database, *everything) == ["early", "now", "pending", "progress"]
    assert expire(database, *everything) == []
    assert statuses(database, everything[:5]) == [
        "expired",
        "expired",
        "expired",
        "sent",
        "expired",
    ]
    assert statuses(database, FINAL) == list(FINAL)
    assert (stored(database, "now")["reason"], stored(database, "succeeded")["reason"]) == (
        EXPIRED,
        None,
    )


def test_a_command_that_was_interrupted_before_it_was_sent_says_so_and_frees_its_key(
    database: Database,
) -> None:
    put(database, "interrupted", status="pending", idempotency_key="key", expires_at=BEFORE)
    put(database, "sent", idempotency_key="other", expires_at=BEFORE)
    assert expire(database, "interrupted", "sent") == ["interrupted", "sent"]
    ends = [
        (stored(database, name)["reason"], stored(database, name)["idempotency_key"])
        for name in ("interrupted", "sent")
    ]
    assert ends == [(INTERRUPTED, None), (EXPIRED, "other")]
    put(database, "again", idempotency_key="key")
    with database.read() as reader:
        found = queries.commands.command_with_key(reader, "key")
    assert found is not None
    assert found["command_id"] == "again"


def test_a_command_that_expires_while_it_is_acknowledged_ends_once(database: Database) -> None:
    ids = [f"c{number:02}" for number in range(40)]
    put(database, *ids, expires_at=NOW)
    ended: list[str] = []

    def expire_all() -> None:
        for command_id in reversed(ids):
            ended.extend(expire(database, command_id))

    thread = threading.Thread(target=expire_all)
    thread.start()
    for command_id in ids:
        with database.write() as connection, database.transaction(connection):
            ended.extend(
                ACKNOWLEDGEMENTS.apply(
                    connection, [ack(command_id, "succeeded")], BEFORE
                ).changes.commands
            )
    thread.join(30)
    assert sorted(ended) == ids
    assert set(statuses(database, ids)) <= {"succeeded", "expired"}
