"""`/api/publisher` and `/mqtt`: the static publisher and its configuration file over REST."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app import create_app
from config import Settings, SettingsError
from services.configurations import check_file
from tests.api import Api, running
from tests.configurations import BOILER, BROKEN, CONFIGS, PUMP, ask
from tests.publishing import RecordingSubscriber
from tests.support import BackendProcess, Mosquitto, free_port, wait_for
from wiring.web import backend_of

RELOADS = [("GET", "/mqtt/reload"), ("POST", "/mqtt/reload"), ("POST", "/api/publisher/reload")]


def healthy(publisher: Api) -> bool:
    return bool(publisher.get("/api/health")["status"] == "healthy")


# The status


@pytest.mark.broker
@pytest.mark.database
@pytest.mark.parametrize("path", ["/api/publisher/status", "/mqtt/status"])
def test_the_status_says_that_nobody_publishes(publisher: Api, file: Path, path: str) -> None:
    status = publisher.get(path)
    assert (status["running"], status["connected"], status["problem"]) == (
        False,
        False,
        "no process publishes it",
    )
    assert status["config"] == str(file)
    assert status["statistics"]["total_published"] == 0


def test_without_a_file_there_are_no_such_paths(sqlite_api: Api) -> None:
    for path in (
        "/api/publisher/status",
        "/mqtt/status",
        "/mqtt/reload",
        CONFIGS,
        f"{CONFIGS}/boiler",
    ):
        sqlite_api.get(path, expect=404)


# Reloading


@pytest.mark.broker
@pytest.mark.database
@pytest.mark.parametrize(("method", "path"), RELOADS)
def test_a_reload_needs_no_body_and_tells_what_the_file_has(
    publisher: Api, file: Path, method: str, path: str
) -> None:
    answer = ask(publisher, method, path)
    assert (answer["success"], answer["active_configs"], answer["faults"]) == (True, 2, [])
    file.write_text(json.dumps([BOILER, PUMP | {"qos": 9}]))
    answer = ask(publisher, method, path)
    assert (answer["success"], answer["active_configs"]) == (True, 1)
    assert len(answer["faults"]) == 1
    assert "qos = 9" in answer["faults"][0]


@pytest.mark.broker
@pytest.mark.database
@pytest.mark.parametrize("path", ["/mqtt/reload", "/api/publisher/reload"])
@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_type": "text/plain"},
        {"data": "", "content_type": "multipart/form-data; boundary=x"},
    ],
)
def test_a_reload_that_any_page_could_have_a_browser_post_is_415(
    publisher: Api, path: str, sent: dict[str, Any]
) -> None:
    answer = publisher.client.post(path, **sent)
    assert answer.status_code == 415
    assert "application/json" in answer.get_json()["message"]


@pytest.mark.broker
@pytest.mark.database
@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("::ffff:127.0.0.1", {}, 200),
        ("127.0.0.1", {"Sec-Fetch-Site": "none"}, 200),
        ("203.0.113.7", {}, 403),
        ("::ffff:203.0.113.7", {}, 403),
        ("", {}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "203.0.113.7"}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}, 403),
        ("127.0.0.1", {"Origin": "https://evil.example"}, 403),
        ("127.0.0.1", {"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_a_reload_by_get_is_for_programs_on_this_machine(
    publisher: Api, address: str, headers: dict[str, str], status: int
) -> None:
    answer = publisher.client.get(
        "/mqtt/reload", headers=headers, environ_base={"REMOTE_ADDR": address}
    )
    assert answer.status_code == status
    assert "POST it" in answer.get_json()["message"] or status == 200


@pytest.mark.broker
@pytest.mark.database
@pytest.mark.parametrize(("forwarded", "status"), [("127.0.0.1", 200), ("203.0.113.7", 403)])
def test_behind_a_configured_proxy_the_address_that_it_forwards_counts(
    settings: Callable[..., Settings], file: Path, forwarded: str, status: int
) -> None:
    values = settings(
        publisher_config=file, mqtt_broker="127.0.0.1", mqtt_port=free_port(), proxy_count=1
    )
    with running(values) as made:
        answer = made.client.get("/mqtt/reload", headers={"X-Forwarded-For": forwarded})
    assert answer.status_code == status


@pytest.mark.broker
@pytest.mark.database
@pytest.mark.parametrize(("method", "path"), RELOADS)
def test_a_reload_of_a_file_that_cannot_be_read_says_why_and_keeps_the_last(
    publisher: Api, file: Path, method: str, path: str
) -> None:
    ask(publisher, method, path)
    file.write_text(BROKEN)
    answer = ask(publisher, method, path)
    assert (answer["success"], answer["active_configs"]) == (False, 2)
    assert "publisher.json: line 1" in answer["message"]
    assert "last good configuration stays" in answer["message"]


# A file that cannot be used


@pytest.mark.parametrize(("content", "said"), [(BROKEN, "line 1"), ("{}", "array"), ("", "empty")])
def test_a_file_that_cannot_be_read_stops_the_start(
    settings: Callable[..., Settings], file: Path, content: str, said: str
) -> None:
    file.write_text(content)
    with pytest.raises(SettingsError, match=rf"^PUBLISHER_CONFIG={file}: .*{said}") as refused:
        check_file(settings(publisher_config=file))
    assert str(refused.value).count(str(file)) == 1


@pytest.mark.process
def test_locks_that_cannot_be_written_stop_nothing_but_publishing_and_changes(
    settings: Callable[..., Settings], file: Path, fast_broker: int
) -> None:
    for kind in ("lock", "edit.lock"):
        Path(
            f"{file}.{kind}"
        ).mkdir()  # root may write into every folder, but opens none for writing
    used = settings(publisher_config=file, mqtt_broker="127.0.0.1", mqtt_port=fast_broker)
    with running(used, start=True) as publisher:
        wait_for(
            lambda: healthy(publisher), what="the ingester, which has nothing to do with the file"
        )
        assert publisher.get(CONFIGS)["count"] == 2
        assert publisher.get("/mqtt/status")["running"] is False
        assert (
            "Is a directory" in ask(publisher, "DELETE", f"{CONFIGS}/boiler", expect=503)["message"]
        )


@pytest.mark.broker
@pytest.mark.process
def test_the_backend_says_so_in_one_line(tmp_path: Path, file: Path) -> None:
    file.write_text(BROKEN)
    backend = BackendProcess(
        tmp_path, PUBLISHER_CONFIG=str(file), MQTT_PORT=str(free_port())
    ).start(wait=False)
    assert backend.process is not None
    assert backend.process.wait(30) == 1
    (line,) = backend.console.read_text().splitlines()
    assert line.startswith(f"PUBLISHER_CONFIG={file}: ")


# What is published


@pytest.mark.broker
@pytest.mark.database
def test_a_process_that_does_not_ingest_serves_the_paths_and_publishes_nothing(
    settings: Callable[..., Settings], file: Path
) -> None:
    live = create_app(settings(publisher_config=file), "live")
    backend = backend_of(live)
    backend.database.prepare()
    backend.start()
    assert Api(live).get(CONFIGS)["count"] == 2
    assert not file.with_name(f"{file.name}.statistics").exists()
    assert "publisher-watch" not in {thread.name for thread in threading.enumerate()}
    backend.stop()


def test_what_is_changed_over_rest_is_published_and_at_the_end_the_wills(
    settings: Callable[..., Settings], file: Path, mosquitto: Mosquitto
) -> None:
    used = settings(publisher_config=file, mqtt_broker="127.0.0.1", mqtt_port=mosquitto.port)
    with RecordingSubscriber(mosquitto.port, "plant/#") as heard:
        with running(used, start=True) as publisher:
            wait_for(lambda: healthy(publisher), what="the ingester")
            heard.wait_said("plant/pump", {"online": 1})
            new = BOILER | {"id": "new", "topic": "plant/new", "interval": 0.1}
            ask(publisher, "POST", CONFIGS, new, 201)
            heard.wait("plant/new")
            ask(publisher, "PUT", f"{CONFIGS}/pump%201", PUMP | {"data": {"rpm": 900}})
            heard.wait_said("plant/pump", {"online": 1, "rpm": 900})
            status = wait_for(lambda: (told := publisher.get("/mqtt/status"))["connected"] and told)
            assert (status["running"], status["active_configs"], status["problem"]) == (
                True,
                3,
                None,
            )
            assert {item["id"] for item in status["configs"]} == {"boiler", "pump 1", "new"}
        heard.wait_said("plant/pump", {"online": 0, "rpm": 900})
