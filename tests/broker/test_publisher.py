"""The Publisher: its results when the broker is connected, away or silent."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from broker.publisher import Publisher, PublishError
from config import Settings
from tests.support import Mosquitto, free_port

TIMEOUT = 0.5


def refusal(publisher: Publisher) -> PublishError:
    with pytest.raises(PublishError) as caught:
        publisher.publish("a", b"")
    return caught.value


@pytest.mark.broker
def test_a_broker_that_is_away_is_told_at_once_and_nothing_was_sent(
    settings: Callable[..., Settings],
) -> None:
    publisher = Publisher(settings(mqtt_broker="127.0.0.1", mqtt_port=free_port()), TIMEOUT)
    error = refusal(publisher)
    assert "cannot be reached" in str(error)
    assert not error.may_be_sent


@pytest.mark.broker
def test_behind_a_silent_broker_those_who_publish_do_not_wait_for_each_other(
    settings: Callable[..., Settings], silent: int
) -> None:
    publisher = Publisher(settings(mqtt_broker="127.0.0.1", mqtt_port=silent), TIMEOUT)
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        errors = list(pool.map(lambda _: refusal(publisher), range(8)))
    assert time.monotonic() - began < 8 * TIMEOUT / 2
    assert {error.may_be_sent for error in errors} == {False}
    assert all("does not answer" in str(error) for error in errors)


@pytest.mark.process
def test_a_broker_that_comes_back_is_used_again(
    settings: Callable[..., Settings], fast_broker: int
) -> None:
    publisher = Publisher(settings(mqtt_broker="127.0.0.1", mqtt_port=fast_broker), TIMEOUT)
    publisher.publish("a", b"1")
    publisher.close()
    publisher.publish("a", b"2")
    publisher.close()


@pytest.mark.broker
@pytest.mark.process
def test_a_message_that_the_broker_refuses_is_not_called_published(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    access = tmp_path / "access"
    access.write_text("topic write allowed/#\n")
    broker = Mosquitto(tmp_path / "broker", f"acl_file {access}")
    broker.start()
    publisher = Publisher(
        settings(mqtt_broker="127.0.0.1", mqtt_port=broker.port, mqtt_protocol="5"), TIMEOUT
    )
    publisher.publish("allowed/topic", b"1")
    with pytest.raises(
        PublishError, match=r"refused the message on forbidden: Not authorized"
    ) as caught:
        publisher.publish("forbidden", b"2")
    assert not caught.value.may_be_sent
    publisher.publish("allowed/topic", b"3")
    publisher.close()
    broker.stop()
