"""The marker between two sessions: what is before it is passed over once, and nothing else is."""

from broker.message import Message
from broker.sessions import MARKERS
from ingest import handover
from ingest.handover import Beginning, Draining
from tests.receivers import RecordingReceiver
from tests.support import ignore
from utils import clock


def message(topic: str, payload: str) -> Message:
    return Message(topic, payload.encode(), clock.now(), 1)


def before_and_after(beginning: Beginning, batch: list[Message]) -> tuple[list[bytes], list[bytes]]:
    before, after = beginning.split(batch) or ((), ())
    return [one.payload for one in before], [one.payload for one in after]


def test_what_is_before_the_marker_is_passed_over_once() -> None:
    beginning = Beginning("token", ["t/#"])
    batch = [
        message("t/1", "given by the old session"),
        message(MARKERS, "token"),
        message("t/1", "new"),
    ]
    parts = [b"given by the old session"], [b"token", b"new"]
    assert beginning.split(batch[:1]) is None
    assert before_and_after(beginning, batch) == parts
    beginning.passed(batch[:1])
    assert before_and_after(beginning, batch) == parts, "the others are not stored yet"
    beginning.stored()
    replayed = [message("t/1", "newer"), message(MARKERS, "token")]
    assert before_and_after(beginning, replayed) == ([], [b"newer", b"token"])


def test_a_marker_that_has_come_is_not_given_up_while_the_database_is_away() -> None:
    beginning = Beginning("token", ["t/#"])
    batch = [message("t/1", "given by the old session"), message(MARKERS, "token")]
    beginning.split(batch)
    assert not any(beginning.tick() for _ in range(2 * handover.HELD_SECONDS))
    beginning.give_up()
    assert before_and_after(beginning, batch) == ([b"given by the old session"], [b"token"])


def test_a_marker_that_does_not_come_is_given_up() -> None:
    beginning = Beginning("token", ["t/#"])
    batch = [message("t/1", "from before the marker, perhaps")]
    assert beginning.split(batch) is None
    assert any(beginning.tick() for _ in range(2 * handover.HELD_SECONDS))
    beginning.give_up()
    assert before_and_after(beginning, batch) == ([], [b"from before the marker, perhaps"])


def test_a_session_that_is_forgotten_in_the_midst_of_a_handover_gives_what_was_received_first() -> (
    None
):
    store, answers = RecordingReceiver(), iter([False, True])
    told: list[str] = []

    def done(token: str) -> bool:
        told.append(token)
        return next(answers)

    draining = Draining(ignore, store, done)
    draining.subscribed()
    for _ in range(2):
        draining.tick()  # quiet for a second: the new session is opened
    store.open.clear()
    batch = [message("t/1", "before the new session")]
    assert not draining.receive(batch), "the database is away"
    draining.connected(session_present=False)
    draining.tick()
    assert not told
    store.open.set()
    assert draining.receive(batch)
    assert draining.tick(), "its end cannot be noted yet"
    assert not draining.tick()
    assert draining.drained
    assert (store.payloads, told) == ([b"before the new session"], ["-", "-"])
