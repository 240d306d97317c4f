"""What live clients get: which events, and what is kept for those who have not fetched them yet."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from services import feed
from services.feed import GAP, Event, Interest, Mailbox, gap, wants


def reading(number: int, device_id: str = "a", stream: str = "sensors", part: str = "") -> Event:
    return Event("reading", device_id, {"id": number}, stream, part)


def command(status: str, command_id: str = "c") -> Event:
    return Event("command", "a", {"status": status}, part=command_id)


def presence(online: bool, device_id: str = "a") -> Event:
    return Event("presence", device_id, {"online": online})


def kept(mailbox: Mailbox) -> list[object]:
    return [next(iter(event.payload.values())) for event in mailbox.take(0)]


# Events


def test_a_reading_says_its_stream_and_other_events_are_what_they_are() -> None:
    assert reading(1).data == {"stream": "sensors", "data": {"id": 1}}
    assert presence(online=True).data == {"online": True}
    assert json.loads(reading(1).json) == reading(1).data


# Interests


@pytest.mark.parametrize(
    ("interests", "wanted"),
    [
        ([], []),
        ([Interest("sensors")], ["1", "2", "c", "p"]),
        ([Interest("sensors", "a")], ["1", "c", "p"]),
        ([Interest("sensors", "b")], ["2"]),
        ([Interest("soil")], ["3", "c", "p"]),
        ([Interest("soil", "b")], []),
        ([Interest("soil"), Interest("sensors", "b")], ["2", "3", "c", "p"]),
    ],
)
def test_a_client_gets_readings_of_its_stream_and_what_happens_to_its_devices(
    interests: list[Interest], wanted: list[str]
) -> None:
    events = {
        "1": reading(1),
        "2": reading(2, "b"),
        "3": reading(3, "a", "soil"),
        "c": command("sent"),
        "p": presence(online=True),
    }
    assert [name for name, event in events.items() if wants(frozenset(interests), event)] == wanted


# Conflation


def test_of_the_readings_of_a_device_the_newest_is_kept() -> None:
    mailbox = Mailbox([])
    for event in (reading(1), reading(2, "b"), reading(3), reading(4)):
        mailbox.offer(event)
    assert kept(mailbox) == [2, 4]
    assert kept(mailbox) == []


def test_readings_of_another_stream_or_metric_are_kept_beside_it() -> None:
    mailbox = Mailbox([])
    for event in (
        reading(1),
        reading(2, stream="soil"),
        reading(3, part="ampere"),
        reading(4, part="volt"),
    ):
        mailbox.offer(event)
    assert kept(mailbox) == [1, 2, 3, 4]


def test_of_each_command_and_of_each_presence_the_newest_state_is_kept() -> None:
    mailbox = Mailbox([])
    for event in (
        command("pending"),
        command("sent", "other"),
        presence(online=True),
        command("succeeded"),
    ):
        mailbox.offer(event)
    mailbox.offer(presence(online=False))
    assert kept(mailbox) == ["succeeded", "sent", False]


def test_a_mailbox_is_bounded_and_the_oldest_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MAX_WAITING", 3)
    mailbox = Mailbox([])
    for number in range(5):
        mailbox.offer(reading(number, f"d{number}"))
    left_out, *rest = mailbox.take(0)
    assert left_out.data == {"stream": "sensors", "device_id": None, "from_id": 0, "to_id": 1}
    assert [event.reading_id for event in rest] == [2, 3, 4]
    assert mailbox.take(0) == []


def test_what_is_dropped_leaves_one_gap_for_each_stream_also_of_gaps_and_none_of_states(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed, "MAX_WAITING", 2)
    mailbox = Mailbox([])
    mailbox.offer(gap("sensors", "a", 5, 9))
    mailbox.offer(command("sent"))
    for number in range(20, 23):
        mailbox.offer(reading(number, f"d{number}"))
        mailbox.offer(reading(number + 100, "p", "panels"))
    told = [event.data for event in mailbox.take(0) if event.name == GAP]
    assert told == [
        {"stream": "sensors", "device_id": None, "from_id": 5, "to_id": 21},
        {"stream": "panels", "device_id": None, "from_id": 121, "to_id": 121},
    ]


def test_a_gap_of_any_device_is_told_to_whoever_wants_some_of_its_stream() -> None:
    assert wants(frozenset({Interest("sensors", "a")}), gap("sensors", None, 1, 2))
    assert not wants(frozenset({Interest("panels", "a")}), gap("sensors", None, 1, 2))


def test_a_mailbox_is_bounded_in_size_too_and_forgets_the_size_of_what_was_replaced_or_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = len(reading(0, "0").json)
    monkeypatch.setattr(feed, "MAX_WAITING_SIZE", 3 * one)
    mailbox = Mailbox([Interest("sensors")])
    for _ in range(3):
        for device_id in "00011122":
            mailbox.offer(reading(0, device_id))
        assert [event.device_id for event in mailbox.take(0)] == ["0", "1", "2"]
    for device_id in "01234":
        mailbox.offer(reading(0, device_id))
    assert [event.device_id for event in mailbox.take(0)] == ["", "2", "3", "4"]


def test_10000_events_fit_and_one_more_costs_one() -> None:
    mailbox = Mailbox([])
    for number in range(10_001):
        mailbox.offer(reading(number, f"d{number}"))
    left_out, *rest = mailbox.take(0)
    assert (left_out.data["from_id"], left_out.data["to_id"]) == (0, 0)
    assert [event.reading_id for event in rest] == list(range(1, 10_001))


# Waiting


def test_taking_waits_until_there_is_something() -> None:
    mailbox = Mailbox([])
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(mailbox.take, 30)
        mailbox.offer(reading(1))
        assert [event.payload["id"] for event in taken.result(10)] == [1]


def test_taking_gives_up_after_its_time() -> None:
    started = time.monotonic()
    assert Mailbox([]).take(0.05) == []
    assert 0.05 <= time.monotonic() - started < 5


def test_closing_wakes_who_waits_and_leaves_what_was_there() -> None:
    mailbox = Mailbox([])
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(mailbox.take, 30)
        mailbox.close()
        assert taken.result(10) == []
    mailbox.offer(reading(1))
    assert mailbox.closed
    assert kept(mailbox) == [1]


def test_nothing_is_lost_between_one_who_offers_and_one_who_takes() -> None:
    mailbox = Mailbox([])
    taken: list[int] = []

    def take() -> None:
        while len(taken) < 5000:
            events = mailbox.take(10)
            assert events
            taken.extend(event.payload["id"] for event in events)

    reader = threading.Thread(target=take)
    reader.start()
    for number in range(5000):
        mailbox.offer(reading(number, f"d{number}"))
    reader.join(30)
    assert taken == list(range(5000))
