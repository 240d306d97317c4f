"""Below a path of a proxy the links in what is pushed live are there too."""

from pathlib import Path
from typing import Any

import pytest

from tests.live import Io, Sse, serving
from tests.support import BackendProcess, free_port, wait_for

COMMAND = {"device_id": "a", "command": "ping"}


@pytest.mark.broker
@pytest.mark.process
def test_the_url_of_a_command_begins_with_the_path_that_its_client_has_come_by(
    tmp_path: Path,
) -> None:
    below: Any = {"X-Forwarded-Prefix": "/autoforge"}
    place = BackendProcess(tmp_path, MQTT_PORT=str(free_port()), PROXY_COUNT="1")
    with serving(place) as backend:
        wait_for(backend.ready, what="a healthy backend")
        with (
            Sse(backend.port, **below) as events,
            Sse(backend.port) as plain,
            Io(backend.port, **below) as client,
        ):
            client.subscribe(stream="sensors")
            command_id = backend.post("/api/control", COMMAND)[1]["command_id"]
            url = f"/api/control/{command_id}"
            for inbox, root in ((events, "/autoforge"), (client, "/autoforge"), (plain, "")):
                assert {told["url"] for told in inbox.await_count("command", 1)} == {root + url}
            with Sse(backend.port, "since=0", **below) as late:
                assert {told["url"] for told in late.await_count("command", 1)} == {
                    f"/autoforge{url}"
                }
