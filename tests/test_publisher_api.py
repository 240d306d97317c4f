"""`/api/publisher` and `/mqtt`: the static publisher and its configuration file over REST."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import client as paho

from app import create_app
from config import Settings, SettingsError
from publisher.loader import check_file
from tests.api import Api, running
from tests.support import PROJECT, Backend, Mosquitto, connected_client, free_port, wait_for
from utils.text import printable
from wiring.web import backend_of

CONFIGS = "/api/publisher/configs"
RELOADS = [("GET", "/mqtt/reload"), ("POST", "/mqtt/reload"), ("POST", "/api/publisher/reload")]
BOILER: dict[str, Any] = {"id": "boiler", "topic": "plant/boiler", "data": {"t": 1.5, "unit": "°C"}, "interval": 30}
PUMP: dict[str, Any] = {"id": "pump 1", "topic": "plant/pump", "data": {}, "interval": 0.5, "lwt": True, "version": 7}
BROKEN = '[{"id": "boiler",'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with the entries boiler and pump 1."""
    path = tmp_path / "publisher.json"
    path.write_text(json.dumps([BOILER, PUMP]))
    return path


@pytest.fixture
def api(settings: Callable[..., Settings], file: Path) -> Iterator[Api]:
    """The API with that file; nothing is started, and there is no broker."""
    with running(settings(publisher_config=file, mqtt_broker="127.0.0.1", mqtt_port=free_port())) as made:
        yield made


def ask(api: Api, method: str, path: str, body: Any = None, expect: int = 200, **query: Any) -> Any:
    """The JSON of a request that says it is JSON, with a body or without."""
    sent: dict[str, Any] = {"content_type": None if method in ("GET", "DELETE") else "application/json"}
    sent |= {} if body is None else {"data": json.dumps(body)}
    answer = api.client.open(path, method=method, query_string=query or None, **sent)
    assert (answer.status_code, answer.mimetype) == (expect, "application/json"), answer.text
    return json.loads(answer.text)


def healthy(api: Api) -> bool:
    return bool(api.get("/api/health")["status"] == "healthy")


def entries(file: Path) -> Any:
    return json.loads(file.read_bytes())


# The status


@pytest.mark.parametrize("path", ["/api/publisher/status", "/mqtt/status"])
def test_the_status_says_that_nobody_publishes(api: Api, file: Path, path: str) -> None:
    status = api.get(path)
    assert (status["running"], status["connected"], status["problem"]) == (False, False, "no process publishes it")
    assert status["config"] == str(file)
    assert status["statistics"]["total_published"] == 0


def test_without_a_file_there_are_no_such_paths(sqlite_api: Api) -> None:
    for path in ("/api/publisher/status", "/mqtt/status", "/mqtt/reload", CONFIGS, f"{CONFIGS}/boiler"):
        sqlite_api.get(path, expect=404)


# Reading the configurations


def test_all_entries_are_told_as_they_stand_in_the_file_with_the_faults(api: Api, file: Path) -> None:
    assert api.get(CONFIGS) == {"count": 2, "data": [BOILER, PUMP], "faults": []}
    strange = [BOILER, {"id": "c", "topic": "a/#", "colour": "red"}, 5]
    file.write_text(json.dumps(strange))
    answer = api.get(CONFIGS)
    assert (answer["count"], answer["data"]) == (3, strange)
    assert [fault.split(":")[0] for fault in answer["faults"]] == ['entry 1 (id "c")'] * 4 + ["entry 2 = 5"]


def test_one_entry_is_told_by_its_id(api: Api) -> None:
    assert api.get(f"{CONFIGS}/boiler") == BOILER
    assert api.get(f"{CONFIGS}/pump%201") == PUMP


@pytest.mark.parametrize("name", ["nobody", "Boiler", "boiler%0A", "%22", "x" * 500])
def test_an_id_that_is_not_there_is_404(api: Api, name: str) -> None:
    message = api.get(f"{CONFIGS}/{name}", expect=404)["message"]
    assert "There is no configuration" in message
    assert message.isprintable()
    ask(api, "PUT", f"{CONFIGS}/{name}", BOILER | {"id": "a", "version": 1}, 400)
    ask(api, "DELETE", f"{CONFIGS}/{name}", expect=404)


def test_a_replacement_for_an_id_that_is_not_there_is_404(api: Api) -> None:
    assert "nobody" in ask(api, "PUT", f"{CONFIGS}/nobody", BOILER | {"id": "nobody", "version": 1}, 404)["message"]


# Adding


def test_a_new_entry_is_201_and_in_the_file(api: Api, file: Path) -> None:
    new = {"id": "Kessel ü.2", "topic": "plant/new", "data": {"z": 1, "a": [None]}, "interval": 1, "qos": 2}
    added = ask(api, "POST", CONFIGS, new, 201)
    assert added == new | {name: added[name] for name in ("created_at", "updated_at")} | {"version": 1}
    assert entries(file) == [BOILER, PUMP, added]
    assert api.get(f"{CONFIGS}/Kessel%20%C3%BC.2") == added


def test_an_id_that_is_there_already_is_409(api: Api, file: Path) -> None:
    assert '"boiler" already' in ask(api, "POST", CONFIGS, BOILER, 409)["message"]
    assert entries(file) == [BOILER, PUMP]


@pytest.mark.parametrize(
    "change",
    [
        {"interval": "fast"}, {"interval": 0}, {"interval": None}, {"topic": "a/+"}, {"topic": ""}, {"qos": 3},
        {"retain": 1}, {"lwt": "yes"}, {"data": []}, {"id": "a/b"}, {"id": ".."}, {"colour": "red"}, {"Id": "b"},
        {"data": {"text": "x" * 70_000}, "lwt": True},
    ],
)  # fmt: skip
def test_a_bad_entry_is_400_in_the_words_that_the_file_has(api: Api, file: Path, change: dict[str, Any]) -> None:
    bad = BOILER | {"id": "c"} | change
    message = ask(api, "POST", CONFIGS, bad, 400)["message"]
    assert entries(file) == [BOILER, PUMP]
    file.write_text(json.dumps([bad]))
    (fault,) = api.get(CONFIGS)["faults"]
    assert fault.endswith(f": {message}")


def with_(**fields: str) -> str:
    """An entry `c` as text, where a value may be what no JSON decoder gives."""
    plain = {"id": '"c"', "topic": '"t"', "data": "{}", "interval": "1"}
    return "{" + ", ".join(f'"{name}": {value}' for name, value in (plain | fields).items()) + "}"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param(with_(data='{"t": 1e999}'), 'data = {"t": 1e999}: must be', id="a number out of range"),
        pytest.param(with_(interval="-1e999"), "interval = -1e999: must be", id="an interval out of range"),
        pytest.param(with_(data='{"t": 1, "t": 2}'), 'must not have the key "t" twice', id="a key twice"),
        pytest.param(with_(qos='1, "qos": 2'), "qos = 2: must stand only once in an entry", id="a field twice"),
        pytest.param(with_(id='"c", "id": "d"'), 'id = "d": must stand only once in an entry', id="the id twice"),
        pytest.param(with_(version='1, "version": 1'), "version = 1: must stand only once", id="the version twice"),
        pytest.param(with_(created_at='null, "created_at": ""'), "must stand only once", id="a time twice"),
        pytest.param(
            with_(data=f'{{"t": {"[" * 40}{"]" * 40}}}'), "nested at most 32 deep", id="data nested too deeply"
        ),
        pytest.param("1e999", "the entry = 1e999: must be a JSON object", id="a number"),
    ],
)
def test_what_no_value_holds_is_400_in_the_words_that_the_file_has(api: Api, file: Path, body: str, said: str) -> None:
    message = api.post(CONFIGS, body, 400)["message"]
    assert said in message
    assert entries(file) == [BOILER, PUMP]
    file.write_text(f"[{body}]")
    (fault,) = api.get(CONFIGS)["faults"]
    assert fault.removeprefix("entry 0 = ").endswith(message.removeprefix("the entry = "))


@pytest.mark.parametrize("text", ["\\ud800", "a \\udc00 b"])
def test_a_lone_surrogate_is_400_and_its_place_told_as_the_file_tells_it(api: Api, file: Path, text: str) -> None:
    body = with_(data=f'{{"t": "{text}"}}')
    message = api.post(CONFIGS, body, 400)["message"].removeprefix("The body: ")
    place = len(body.split(text)[0] + text[: text.index("\\")]) + 7
    assert message.startswith(f"line 1, column {place}: not JSON: ")
    file.write_text(f"[\n{body}]")
    assert message.replace("line 1", "line 2") in api.get(CONFIGS, 503)["message"]


def test_all_that_cannot_be_read_of_a_replacement_is_told(api: Api, file: Path) -> None:
    body = with_(id='"boiler", "id": "boiler"', data='{"t": 1e999}', interval="0", version='1, "version": 2')
    answer = api.client.put(f"{CONFIGS}/boiler", data=body, content_type="application/json")
    assert answer.status_code == 400
    told = json.loads(answer.text)["message"].split("; ")
    assert [sentence.split()[0] for sentence in told] == ["id", "data", "interval", "version"]
    assert entries(file) == [BOILER, PUMP]


def test_every_fault_of_a_bad_entry_is_told(api: Api) -> None:
    message = ask(api, "POST", CONFIGS, {"id": "c", "topic": "#", "qos": 9, "colour": "red"}, 400)["message"]
    assert [told.split()[0] for told in message.split("; ") if "=" in told or "missing" in told] == [
        "topic", "data", "interval", "qos", "colour",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content_type", "body", "status", "said"),
    [
        ("application/json", "{", 400, "not JSON"),
        ("application/json", '{"id": NaN}', 400, "not JSON"),
        (
            "application/json",
            '{"id": "\ud800"}'.encode(errors="surrogatepass"),
            400,
            "column 9: byte 0xed is not UTF-8",
        ),
        ("application/json", "{}".encode("utf-16"), 400, "UTF-16"),
        ("application/json", '{"data": {},\n "id": "a" "b"}', 400, "line 2, column 12: not JSON: expected ',' or '}'"),
        ("application/json", "[" * 100_000, 400, "line 1, column 34: nested too deeply"),
        ("application/json", "[]", 400, "JSON object"),
        ("application/json", '"boiler"', 400, "JSON object"),
        ("application/json", "null", 400, "JSON object"),
        ("application/json", "x" * 1_000_001, 413, "1000000"),
        ("text/plain", "{}", 415, "application/json"),
        ("application/json", "", 400, "not JSON"),
        (None, "", 415, "application/json"),
        (None, "{}", 415, "application/json"),
    ],
)
def test_a_body_that_is_no_entry_is_told(
    api: Api, file: Path, content_type: str | None, body: str | bytes, status: int, said: str
) -> None:
    for method, path in (("POST", CONFIGS), ("PUT", f"{CONFIGS}/boiler")):
        answer = api.client.open(path, method=method, data=body, content_type=content_type)
        assert (answer.status_code, answer.mimetype) == (status, "application/json"), answer.text
        assert said in json.loads(answer.text)["message"]
    assert entries(file) == [BOILER, PUMP]


# Replacing and removing


def test_what_was_read_can_be_changed_and_put_back(api: Api, file: Path) -> None:
    read = api.get(f"{CONFIGS}/pump%201")
    put = ask(api, "PUT", f"{CONFIGS}/pump%201", read | {"interval": 2})
    assert put == PUMP | {"interval": 2, "version": 8, "updated_at": put["updated_at"]}
    again = ask(api, "PUT", f"{CONFIGS}/pump%201", put | {"interval": 3})
    assert (again["version"], again["interval"]) == (9, 3)
    assert entries(file) == [BOILER, again]


def test_a_version_that_was_overtaken_is_409_with_the_one_it_has_now(api: Api, file: Path) -> None:
    ask(api, "PUT", f"{CONFIGS}/boiler", BOILER | {"version": 1})
    before = file.read_bytes()
    assert "has version 2 now, not 1" in ask(api, "PUT", f"{CONFIGS}/boiler", BOILER | {"version": 1}, 409)["message"]
    assert "has version 2 now" in ask(api, "DELETE", f"{CONFIGS}/boiler", expect=409, version=1)["message"]
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "version is missing: must be the version that was read"),
        ({"version": 1.0}, "version = 1.0: must be a whole number"),
        ({"version": 1, "id": "pump 1"}, 'id = "pump 1": must be "boiler"'),
        ({"version": 1, "interval": "fast"}, 'interval = "fast": must be'),
    ],
)
def test_a_bad_replacement_is_400(api: Api, file: Path, change: dict[str, Any], said: str) -> None:
    assert said in ask(api, "PUT", f"{CONFIGS}/boiler", BOILER | change, 400)["message"]
    assert entries(file) == [BOILER, PUMP]


def test_a_removed_entry_is_the_answer_and_gone(api: Api, file: Path) -> None:
    assert ask(api, "DELETE", f"{CONFIGS}/boiler") == BOILER
    assert ask(api, "DELETE", f"{CONFIGS}/pump%201", version=7) == PUMP
    assert entries(file) == []
    assert api.get(CONFIGS) == {"count": 0, "data": [], "faults": []}
    ask(api, "DELETE", f"{CONFIGS}/boiler", expect=404)


@pytest.mark.parametrize("version", ["0", "-1", "x", "1.5", ""])
def test_a_version_to_remove_that_is_none_is_400(api: Api, file: Path, version: str) -> None:
    assert "version" in ask(api, "DELETE", f"{CONFIGS}/boiler", expect=400, version=version)["message"]
    assert entries(file) == [BOILER, PUMP]


@pytest.mark.parametrize("name", ["versoin", "Version", "x\n"])
def test_a_misspelt_parameter_removes_nothing_and_is_400_with_what_there_is(api: Api, file: Path, name: str) -> None:
    for more in ({}, {"version": 1}):
        message = ask(api, "DELETE", f"{CONFIGS}/boiler", expect=400, **{name: 1}, **more)["message"]
        assert message == f"{printable(name)}: there is no such parameter; known: version"
        assert entries(file) == [BOILER, PUMP]


# Reloading


@pytest.mark.parametrize(("method", "path"), RELOADS)
def test_a_reload_needs_no_body_and_tells_what_the_file_has(api: Api, file: Path, method: str, path: str) -> None:
    answer = ask(api, method, path)
    assert (answer["success"], answer["active_configs"], answer["faults"]) == (True, 2, [])
    file.write_text(json.dumps([BOILER, PUMP | {"qos": 9}]))
    answer = ask(api, method, path)
    assert (answer["success"], answer["active_configs"]) == (True, 1)
    assert len(answer["faults"]) == 1
    assert "qos = 9" in answer["faults"][0]


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
def test_a_reload_that_any_page_could_have_a_browser_post_is_415(api: Api, path: str, sent: dict[str, Any]) -> None:
    answer = api.client.post(path, **sent)
    assert answer.status_code == 415
    assert "application/json" in answer.get_json()["message"]


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
    api: Api, address: str, headers: dict[str, str], status: int
) -> None:
    answer = api.client.get("/mqtt/reload", headers=headers, environ_base={"REMOTE_ADDR": address})
    assert answer.status_code == status
    assert "POST it" in answer.get_json()["message"] or status == 200


@pytest.mark.parametrize(("forwarded", "status"), [("127.0.0.1", 200), ("203.0.113.7", 403)])
def test_behind_a_configured_proxy_the_address_that_it_forwards_counts(
    settings: Callable[..., Settings], file: Path, forwarded: str, status: int
) -> None:
    values = settings(publisher_config=file, mqtt_broker="127.0.0.1", mqtt_port=free_port(), proxy_count=1)
    with running(values) as made:
        answer = made.client.get("/mqtt/reload", headers={"X-Forwarded-For": forwarded})
    assert answer.status_code == status


@pytest.mark.parametrize(("method", "path"), RELOADS)
def test_a_reload_of_a_file_that_cannot_be_read_says_why_and_keeps_the_last(
    api: Api, file: Path, method: str, path: str
) -> None:
    ask(api, method, path)
    file.write_text(BROKEN)
    answer = ask(api, method, path)
    assert (answer["success"], answer["active_configs"]) == (False, 2)
    assert "publisher.json: line 1" in answer["message"]
    assert "last good configuration stays" in answer["message"]


# A file that cannot be used


def test_a_file_that_cannot_be_read_is_told_and_never_overwritten(api: Api, file: Path) -> None:
    file.write_text(BROKEN)
    for path in (CONFIGS, f"{CONFIGS}/boiler"):
        assert "publisher.json" in api.get(path, expect=503)["message"]
    body = BOILER | {"version": 1}
    for method, path in (("PUT", f"{CONFIGS}/boiler"), ("POST", CONFIGS), ("DELETE", f"{CONFIGS}/boiler")):
        message = ask(api, method, path, None if method == "DELETE" else body, 409)["message"]
        assert "mend the file first" in message
    assert file.read_text() == BROKEN
    assert api.get("/mqtt/status")["running"] is False


def test_a_file_that_cannot_be_written_is_503(api: Api, file: Path) -> None:
    (file.parent / "publisher.json.edit.lock").mkdir()
    for method, path, body in (
        ("POST", CONFIGS, BOILER | {"id": "c"}),
        ("PUT", f"{CONFIGS}/boiler", BOILER | {"version": 1}),
        ("DELETE", f"{CONFIGS}/boiler", None),
    ):
        assert "folder must be writable" in ask(api, method, path, body, 503)["message"]
    assert entries(file) == [BOILER, PUMP]


@pytest.mark.parametrize(("content", "said"), [(BROKEN, "line 1"), ("{}", "array"), ("", "empty")])
def test_a_file_that_cannot_be_read_stops_the_start(
    settings: Callable[..., Settings], file: Path, content: str, said: str
) -> None:
    file.write_text(content)
    with pytest.raises(SettingsError, match=rf"^PUBLISHER_CONFIG={file}: .*{said}") as refused:
        check_file(settings(publisher_config=file))
    assert str(refused.value).count(str(file)) == 1


def test_locks_that_cannot_be_written_stop_nothing_but_publishing_and_changes(
    settings: Callable[..., Settings], file: Path, embedded_broker: int
) -> None:
    for kind in ("lock", "edit.lock"):
        Path(f"{file}.{kind}").mkdir()  # root may write into every folder, but opens none for writing
    used = settings(publisher_config=file, mqtt_broker="127.0.0.1", mqtt_port=embedded_broker)
    with running(used, start=True) as api:
        wait_for(lambda: healthy(api), what="the ingester, which has nothing to do with the file")
        assert api.get(CONFIGS)["count"] == 2
        assert api.get("/mqtt/status")["running"] is False
        assert "Is a directory" in ask(api, "DELETE", f"{CONFIGS}/boiler", expect=503)["message"]


def test_the_backend_says_so_in_one_line(tmp_path: Path, file: Path) -> None:
    file.write_text(BROKEN)
    backend = Backend(tmp_path, PUBLISHER_CONFIG=str(file), MQTT_PORT=str(free_port())).start(wait=False)
    assert backend.process is not None
    assert backend.process.wait(30) == 1
    (line,) = backend.console.read_text().splitlines()
    assert line.startswith(f"PUBLISHER_CONFIG={file}: ")


# What is published


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


class Heard:
    """A subscriber to `plant/#`: what arrived, in order."""

    def __init__(self, port: int) -> None:
        self.messages: list[tuple[str, Any]] = []
        self._client = connected_client(port)
        self._client.on_message = self._on_message
        self._client.subscribe("plant/#", 1)

    def last(self, topic: str) -> Any:
        """The newest payload of a topic, or None."""
        return next((payload for heard, payload in reversed(self.messages) if heard == topic), None)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        self.messages.append((message.topic, json.loads(message.payload)))


@pytest.fixture
def heard(mosquitto: Mosquitto) -> Iterator[Heard]:
    subscriber = Heard(mosquitto.port)
    yield subscriber
    subscriber.close()


def test_what_is_changed_over_rest_is_published_and_at_the_end_the_wills(
    settings: Callable[..., Settings], file: Path, mosquitto: Mosquitto, heard: Heard
) -> None:
    used = settings(publisher_config=file, mqtt_broker="127.0.0.1", mqtt_port=mosquitto.port)
    with running(used, start=True) as api:
        wait_for(lambda: healthy(api), what="the ingester")
        assert wait_for(lambda: heard.last("plant/pump")) == {"online": 1}
        ask(api, "POST", CONFIGS, BOILER | {"id": "new", "topic": "plant/new", "interval": 0.1}, 201)
        wait_for(lambda: heard.last("plant/new"), 5, "the new entry")
        ask(api, "PUT", f"{CONFIGS}/pump%201", PUMP | {"data": {"rpm": 900}})
        wait_for(lambda: heard.last("plant/pump") == {"online": 1, "rpm": 900}, 5, "the changed entry")
        status = wait_for(lambda: (told := api.get("/mqtt/status"))["connected"] and told)
        assert (status["running"], status["active_configs"], status["problem"]) == (True, 3, None)
        assert {item["id"] for item in status["configs"]} == {"boiler", "pump 1", "new"}
    wait_for(lambda: heard.last("plant/pump") == {"online": 0, "rpm": 900}, what="the will of a graceful end")


def test_of_the_workers_of_gunicorn_one_publishes_and_each_manages(
    tmp_path: Path, file: Path, mosquitto: Mosquitto, heard: Heard
) -> None:
    numbered = BOILER | {"interval": 0.2, "data": {"v": 1}}
    file.write_text(json.dumps([numbered]))
    command = [sys.executable, "-m", "gunicorn", "--no-control-socket", "-c", str(PROJECT / "gunicorn.conf.py")]
    place = {"MQTT_BROKER": "127.0.0.1", "MQTT_PORT": str(mosquitto.port), "PUBLISHER_CONFIG": str(file)}
    backend = Backend(tmp_path, [*command, "-w", "3", "app:app"], **place).start()
    try:
        wait_for(lambda: backend.get("/mqtt/status")[1]["connected"], what="a worker that publishes")
        for version in range(1, 11):
            status, answer = backend.post(CONFIGS, numbered | {"id": f"e{version}", "topic": f"plant/{version}"})
            assert (status, answer["version"]) == (201, 1)
        wait_for(lambda: all(heard.last(f"plant/{number}") for number in range(1, 11)), what="every new entry")
        wait_for(lambda: backend.get("/mqtt/status")[1]["active_configs"] == 11, what="the figures of the publisher")
        assert backend.console.read_text().count("Publishing ") == 1
    finally:
        backend.stop()
    assert "Traceback" not in backend.console.read_text()
