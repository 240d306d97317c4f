"""Commands to a simulated board: its answers and their effects."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from simulators.commands import (
    Answer,
    Answers,
    BoardState,
    Effect,
    Malformed,
    Restart,
    SetInterval,
    obey,
    parse,
)

NOON = datetime(2026, 5, 4, 12)
STATE = BoardState(NOON, uptime=61.23456)


def command(name: str, parameters: object = None, **changes: object) -> bytes:
    body = {
        "command_id": "c1",
        "command": name,
        "parameters": parameters,
        "issued_at": "2026-05-04T11:59:50Z",
    }
    return json.dumps(body | changes).encode()


def answer(payload: bytes, state: BoardState = STATE) -> tuple[dict[str, Any], Effect]:
    read = parse(payload)
    said, effect = obey(read, state)
    return json.loads(said.payload(read.id)), effect


@pytest.mark.parametrize(
    ("payload", "status", "result", "effect"),
    [
        (command("ping"), "succeeded", {"pong": True, "uptime": 61.235}, None),
        (command("ping", {"unasked": 1}), "succeeded", {"pong": True, "uptime": 61.235}, None),
        (command("set_interval", {"seconds": 5}), "succeeded", {"seconds": 5}, SetInterval(5)),
        (
            command("set_interval", {"seconds": 0.05}),
            "succeeded",
            {"seconds": 0.05},
            SetInterval(0.05),
        ),
        (
            command("set_interval", {"seconds": 86400}),
            "succeeded",
            {"seconds": 86400},
            SetInterval(86400),
        ),
        (command("restart"), "in_progress", None, Restart(0)),
        (command("restart", {"delay_seconds": 60}), "in_progress", None, Restart(60)),
    ],
)
def test_a_known_command_is_obeyed(
    payload: bytes, status: str, result: dict[str, object] | None, effect: Effect
) -> None:
    expected: dict[str, object] = {"command_id": "c1", "status": status}
    assert answer(payload) == (expected | ({} if result is None else {"result": result}), effect)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (command("dance"), 'unknown command "dance"; known are ping, restart, set_interval'),
        (
            command("x" * 100),
            f'unknown command "{"x" * 59}…; known are ping, restart, set_interval',
        ),
        (command("a\nb"), r'unknown command "a\nb"; known are ping, restart, set_interval'),
        (
            command("set_interval"),
            '"seconds" is missing; it must be a number of seconds from 0.05 to 86400',
        ),
        (
            command("set_interval", {"seconds": 0.04}),
            '"seconds" is 0.04, and must be a number of seconds from 0.05 to 86400',
        ),
        (
            command("set_interval", {"seconds": 86401}),
            '"seconds" is 86401, and must be a number of seconds from 0.05 to 86400',
        ),
        (
            command("set_interval", {"seconds": True}),
            '"seconds" is true, and must be a number of seconds from 0.05 to 86400',
        ),
        (
            command("set_interval", {"seconds": "5"}),
            '"seconds" is "5", and must be a number of seconds from 0.05 to 86400',
        ),
        (
            command("set_interval", {"seconds": float("nan")}),
            '"seconds" is NaN, and must be a number of seconds from 0.05 to 86400',
        ),
        (
            command("restart", {"delay_seconds": 61}),
            '"delay_seconds" is 61, and must be a number of seconds from 0 to 60',
        ),
        (
            command("restart", {"delay_seconds": None}),
            '"delay_seconds" is null, and must be a number of seconds from 0 to 60',
        ),
        (command("ping", [1]), '"parameters" is [1], and must be an object'),
        (
            command("ping", expires_at="2026-05-04T12:00:00Z"),
            "expired at 2026-05-04T12:00:00.000000Z",
        ),
        (
            command("dance", expires_at="2026-05-04T13:59:59+02:00"),
            "expired at 2026-05-04T11:59:59.000000Z",
        ),
        (command("ping", expires_at="soon"), '"expires_at" is not a time: "soon"'),
        (command("ping", expires_at=5), '"expires_at" is 5, and must be a time'),
    ],
)
def test_what_cannot_be_obeyed_is_rejected_with_the_reason(payload: bytes, reason: str) -> None:
    assert answer(payload) == ({"command_id": "c1", "status": "rejected", "reason": reason}, None)


def test_a_command_is_obeyed_until_it_expires() -> None:
    payload = command("ping", expires_at="2026-05-04T12:00:00Z")
    assert (
        answer(payload, STATE._replace(now=NOON - timedelta(microseconds=1)))[0]["status"]
        == "succeeded"
    )


def test_a_second_restart_is_rejected_while_one_is_under_way() -> None:
    said, effect = answer(command("restart"), STATE._replace(restarting=True))
    assert (said["status"], said["reason"], effect) == (
        "rejected",
        "a restart is already under way",
        None,
    )


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\xff", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", '"command_id" must be a text that is not empty'),
        (command("ping", command_id=1), '"command_id" must be a text that is not empty'),
        (command("ping", command_id=""), '"command_id" must be a text that is not empty'),
        (command("ping", command=None), '"command" must be a text that is not empty'),
    ],
)
def test_what_names_no_command_is_malformed(payload: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        parse(payload)


def test_the_last_answers_to_a_hundred_commands_are_remembered() -> None:
    answers = Answers()
    for number in range(101):
        answers.keep(str(number), Answer("in_progress"))
    answers.keep("1", Answer("succeeded"))
    answers.keep("101", Answer("succeeded"))
    assert [answers.get(name) for name in ("0", "2", "1")] == [None, None, Answer("succeeded")]
