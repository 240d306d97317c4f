"""`flask verify` against running systems: what is well, what is not, and how it says so."""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from broker.message import Message
from config import PROJECT, Settings, load_settings
from database import Database
from ingest.message import Reading
from ingest.payload import Parser
from integrations import INTEGRATIONS
from routes import command_line
from services.running_backend import server_url
from services.verification import DEVICE
from services.verification_samples import plausible
from services.verification_traces import remove
from streams import declaration
from streams.registry import Streams
from tests.live import at_broker, serving
from tests.support import BackendProcess, Mosquitto, free_port, wait_for
from utils import clock

CHECKS = [
    "Backend health",
    "GET /api/mqtt/status",
    "GET /api/mqtt/last-values",
    "GET /api/mqtt/topics",
    "GET /api/mqtt/history",
    "POST /api/mqtt/publish",
    "MQTT broker connection",
    "Declared streams",
]
PANELS_ONLY = CHECKS[1:6]
SHAPES = {
    "states": 'topic = "door/{device_id}/{metric}"\n[metrics.state]\ntype = "text"\n'
    'simulate = { states = ["open", "shut"] }\n',
    "nested": 'topic = "node/data"\ndevice = "node"\nvalues = "measured"\n[timestamp]\nfield = "ts"\n'
    "[metrics.level]\nsimulate = { mean = 5, minimum = 7 }\n[metrics.flow]\nsimulate = { mean = 9, maximum = 8 }\n"
    '[metrics.work]\nsimulate = { product = ["level", "flow"], factor = 2 }\n',
    "named": 'topic = "{metric}/all"\ndevice = "who"\n[metrics.lux]\nlevel = "light"\n',
}
Verified = tuple[int, dict[str, tuple[str, str]], str]


def printed(code: int, lines: list[str]) -> Verified:
    """The exit code, the mark and the rest of each check's line, and the last line; no other may be there."""
    *checks, summary = lines
    found = [re.fullmatch(r"(ok|FAILED|left out) +(.+?): (.+)", line) for line in checks]
    assert all(found), lines
    return code, {match[2]: (match[1], match[3]) for match in found if match}, summary


def as_a_program(backend: BackendProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as its user does."""
    return subprocess.run(
        [sys.executable, "-m", "flask", "verify", *arguments],
        cwd=PROJECT,
        env=backend.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def verify(environment: dict[str, str], *arguments: str) -> Verified:
    """Run the command in this process with the settings of another."""
    with contextlib.chdir(PROJECT), pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", environment)
        settings = load_settings(_env_file=None)
    checks = [each.checks for each in INTEGRATIONS if each.checks is not None]
    command = command_line.verify(settings, declaration.declared(settings), checks)
    run = CliRunner().invoke(command, arguments)
    assert isinstance(run.exception, SystemExit | None), run.exception
    return printed(run.exit_code, run.output.splitlines())


def failed(verified: Verified) -> dict[str, str]:
    """The sentences of the checks that failed."""
    code, checks, summary = verified
    sentences = {check: sentence for check, (mark, sentence) in checks.items() if mark == "FAILED"}
    assert code == (1 if sentences else 0)
    assert f" {len(sentences)} FAILED" in summary
    for sentence in sentences.values():
        assert re.fullmatch(r"expected .+; came .+; .+", sentence)
        assert "Traceback" not in sentence
    return sentences


@pytest.fixture
def declare(tmp_path: Path) -> Callable[..., str]:
    """A folder with declarations."""

    def write(**texts: str) -> str:
        folder = tmp_path / "declared"
        folder.mkdir(exist_ok=True)
        for name, toml in texts.items():
            (folder / f"{name}.toml").write_text(toml)
        return str(folder)

    return write


def test_a_running_system_passes_every_check(backend: BackendProcess) -> None:
    run = as_a_program(backend)
    assert run.stderr == ""
    code, checks, summary = printed(run.returncode, run.stdout.splitlines())
    assert (code, summary) == (0, "13 ok, 0 FAILED, 1 left out")
    assert list(checks) == [
        *CHECKS,
        "Stream anything",
        "Stream machines",
        "Stream panels",
        "Stream sensors",
        "Stream soil",
        "Clean up",
    ]
    assert checks["Clean up"][1] == (
        f"DATABASE_URL here is not the database of http://127.0.0.1:{backend.port}: readings of autoforge-verify stay "
        "in panels, anything, machines, sensors, soil; lists and figures leave them out"
    )
    for check in ("POST /api/mqtt/publish", "Stream panels", "Stream sensors"):
        assert re.search(r" served after \d+ ms$", checks[check][1])


def test_it_can_be_run_again_and_its_readings_are_in_no_list_and_no_figure(
    backend: BackendProcess,
) -> None:
    for _ in range(2):
        assert failed(verify(backend.environment)) == {}
    for stream in ("anything", "machines", "panels", "sensors", "soil"):
        assert backend.get(f"/api/{stream}/latest?device_id={DEVICE}")[0] == 200
        assert backend.get(f"/api/{stream}/devices")[1]["devices"] == []
        assert backend.get(f"/api/{stream}/history")[1]["data"] == []
        assert backend.get(f"/api/{stream}/stats")[1]["stats"]["count"] == 0
        assert backend.get(f"/api/{stream}/latest")[0] == 404
    assert backend.get("/api/mqtt/last-values")[1]["voltage"] is None


@pytest.mark.process
def test_what_it_made_is_removed_from_a_database_that_it_reaches(
    tmp_path: Path, broker: Mosquitto, database_url: str
) -> None:
    place = at_broker(tmp_path / "backend", broker, DATABASE_URL=database_url)
    with serving(place) as server:
        wait_for(server.ready)
        for _ in range(2):
            assert verify(server.environment)[1]["Clean up"][0] == "ok"
        engine = create_engine(make_url(server.environment["DATABASE_URL"]))
        made = ("anything", "machines", "panels", "sensor", "soil")
        tables = [f"{name}_readings" for name in made]
        with engine.connect() as connection:
            left = [
                connection.execute(text(f"SELECT count(*) FROM {table}")).scalar()
                for table in tables
            ]
            devices = connection.execute(text("SELECT count(*) FROM devices")).scalar()
        engine.dispose()
    newest = engine.dialect.name == "sqlite"  # an id must not be given twice
    assert (left, devices) == ([int(newest)] * 5, 0)


@pytest.mark.parametrize("url", ["sqlite:///{}/test.db", "sqlite:///file:{}/test.db?uri=true"])
def test_its_readings_are_removed_however_the_file_is_named(
    url: str, tmp_path: Path, sqlite: Database, streams: Streams, settings: Callable[..., Settings]
) -> None:
    moment = datetime(2026, 1, 29, 14, 30, 45)
    with sqlite.write() as connection, sqlite.transaction(connection):
        row = (DEVICE, moment, None, 24.5, 12.3, 450.0, 250.5, 1)
        sqlite.write_batch(connection, sqlite.tables["sensors"], [row], moment)
    assert remove(settings(database_url=url.format(tmp_path)), streams, {"sensors": moment})


@pytest.mark.broker
@pytest.mark.process
@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_topic_that_the_broker_does_not_deliver_is_named(
    version: str, tmp_path: Path, declare: Callable[..., str]
) -> None:
    """With the shipped access list a stream that it does not know loses everything, and nothing else tells."""
    access = tmp_path / "acl"
    access.write_text("topic readwrite autoforge/+/notices\ntopic readwrite door/+/open\n")
    broker = Mosquitto(tmp_path / "broker", f"acl_file {access}")
    broker.start()
    text = 'topic = "door/{device_id}/{metric}"\n[metrics.open]\n[metrics.shut]\n'
    place = at_broker(
        tmp_path / "backend", broker, STREAMS_DIR=declare(doors=text), MQTT_PROTOCOL=version
    )
    with serving(place) as server:
        wait_for(server.ready)
        sentences = failed(verify(server.environment, "--timeout", "1"))
    assert sentences == {
        "Stream doors": "expected door/autoforge-verify/shut back from the broker; came nothing within 1 s; "
        "check the broker's access list for door/autoforge-verify/shut; `flask acl` prints one"
    }
    broker.stop()


@pytest.mark.process
def test_every_kind_of_database_serves_exactly_what_was_published(
    tmp_path: Path, broker: Mosquitto, database_url: str
) -> None:
    with serving(at_broker(tmp_path / "backend", broker, DATABASE_URL=database_url)) as server:
        wait_for(lambda: (server.answers() or {}).get("status") == "healthy")
        assert failed(verify(server.environment)) == {}


@pytest.mark.broker
@pytest.mark.process
def test_it_works_beside_an_embedded_broker_and_leaves_the_ingesting_to_the_server(
    tmp_path: Path,
) -> None:
    with serving(
        BackendProcess(
            tmp_path, MQTT_PORT=str(free_port()), DATABASE_URL=f"sqlite:///{tmp_path}/test.db"
        )
    ) as server:
        wait_for(server.ready)
        assert failed(verify(server.environment)) == {}
        health = server.answers()
        assert health is not None
        assert server.process is not None
        assert health["mqtt"]["holder"].endswith(f":{server.process.pid}")


@pytest.mark.process
def test_the_checks_of_panels_and_of_other_formats_are_left_out(
    tmp_path: Path, broker: Mosquitto, declare: Callable[..., str]
) -> None:
    shapes = declare(**SHAPES, table='topic = "rx/{device_id}"\nformat = "csv"\n[metrics.lux]\n')
    with serving(at_broker(tmp_path / "backend", broker, STREAMS_DIR=shapes)) as server:
        wait_for(server.ready)
        code, checks, summary = verify(server.environment)
    assert (code, summary) == (0, "6 ok, 0 FAILED, 7 left out")
    assert [check for check, (mark, _) in checks.items() if mark == "left out"] == [
        *PANELS_ONLY,
        "Stream table",
        "Clean up",
    ]
    assert list(checks)[-5:-2] == ["Stream named", "Stream nested", "Stream states"]
    assert (
        checks["Stream table"][1]
        == "its payloads cannot be written: payloads are csv, and only json is written"
    )


def test_a_backend_that_is_away_fails_everything_but_the_broker(backend: BackendProcess) -> None:
    port = free_port()
    sentences = failed(verify(backend.environment, "--url", f"http://127.0.0.1:{port}"))
    assert len(sentences) == 12
    assert "MQTT broker connection" not in sentences
    assert sentences["Backend health"] == (
        f"expected an answer from http://127.0.0.1:{port}; came none: [Errno 111] Connection refused; "
        "start the backend, or give its address with --url"
    )


@pytest.mark.parametrize("url", ["http://no-such-host.invalid", "http://a..b"])
def test_a_host_that_does_not_exist_is_a_sentence(backend: BackendProcess, url: str) -> None:
    assert failed(verify(backend.environment, "--url", url))["Backend health"].startswith(
        f"expected an answer from {url}; came none: "
    )


def test_a_broker_that_is_away_fails_what_publishes_from_here(backend: BackendProcess) -> None:
    environment = backend.environment | {"MQTT_PORT": str(free_port())}
    sentences = failed(verify(environment, "--timeout", "2"))
    streams = {f"Stream {name}" for name in ("anything", "machines", "panels", "sensors", "soil")}
    assert set(sentences) == {"MQTT broker connection"} | streams
    assert "cannot be reached" in sentences["MQTT broker connection"]


@pytest.mark.process
def test_a_backend_without_its_broker_is_not_healthy(tmp_path: Path, broker: Mosquitto) -> None:
    own = {"MQTT_BROKER": "127.0.0.1", "MQTT_PORT": str(free_port())}
    with serving(BackendProcess(tmp_path, None, **own)) as server:
        wait_for(lambda: "cannot be reached" in str((server.answers() or {}).get("message")))
        sentences = failed(
            verify(server.environment | {"MQTT_PORT": str(broker.port)}, "--timeout", "1")
        )
    assert '"degraded": MQTT: ' in sentences["Backend health"]
    assert sentences["GET /api/mqtt/status"].startswith('expected "connected": true; came false: ')
    assert sentences["POST /api/mqtt/publish"].startswith("expected 200; came 503: ")
    assert "No sensor readings found" in sentences["Stream sensors"]
    assert sentences["Stream sensors"].endswith(
        "check that the backend ingests from the same broker, and that the clocks agree"
    )
    assert "MQTT broker connection" not in sentences


def test_streams_that_differ_are_named(
    backend: BackendProcess, declare: Callable[..., str]
) -> None:
    text = (PROJECT / "streams" / "sensors.toml").read_text()
    folder = declare(
        sensors=text.replace("[metrics.gas]", "[metrics.smoke]"), more=SHAPES["nested"]
    )
    sentences = failed(verify(backend.environment | {"STREAMS_DIR": folder}, "--timeout", "1"))
    assert (
        "a difference in anything, machines, more, panels, sensors, soil"
        in sentences["Declared streams"]
    )
    assert "restart it with this declaration" in sentences["Stream more"]


def test_a_reading_that_the_backend_rejects_is_told_with_its_reason(
    backend: BackendProcess, declare: Callable[..., str]
) -> None:
    text = (PROJECT / "streams" / "sensors.toml").read_text()
    folder = declare(sensors=text.replace("[metrics.gas]", "[metrics.smoke]"))
    sentences = failed(verify(backend.environment | {"STREAMS_DIR": folder}, "--timeout", "1"))
    assert sentences["Stream sensors"].endswith("it was rejected: gas: missing")


class Fake(ThreadingHTTPServer):
    """A server that gives every request the same answer."""

    def __init__(self, status: int, kind: str, body: bytes) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def fake() -> Iterator[Callable[[int, str, bytes], str]]:
    """Starts a server with one answer; its address."""
    servers: list[Fake] = []

    def start(status: int, kind: str, body: bytes) -> str:
        servers.append(Fake(status, kind, body))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return servers[-1].url

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.process
@pytest.mark.parametrize(
    ("status", "kind", "body", "came"),
    [
        (
            200,
            "text/html",
            b"<!doctype html>\n<p>\xe9",
            "JSON; came 200 text/html: <!doctype html>\\u000a<p>\\xe9; ",
        ),
        (
            502,
            "text/html",
            b"<h1>Bad Gateway</h1>",
            "JSON; came 502 text/html: <h1>Bad Gateway</h1>; ",
        ),
        (200, "application/json", b"", "JSON; came 200 application/json: ; "),
        (200, "application/json", b"[" * 100_000, f"JSON; came 200 application/json: {'[' * 60}; "),
        (200, "application/json", b"{}", "an object with status, message, version; came {}; "),
        (200, "application/json", b"[1]", "an object with status, message, version; came [1]; "),
        (
            503,
            "application/json",
            b'{"status": "unhealthy", "message": "gone", "version": 1}',
            '503, "unhealthy": gone; ',
        ),
    ],
    ids=["HTML", "a proxy", "nothing", "deep", "an empty object", "an array", "no database"],
)
def test_what_is_not_autoforge_is_a_sentence(
    broker: Mosquitto, fake: Callable[..., str], status: int, kind: str, body: bytes, came: str
) -> None:
    environment = dict(os.environ) | {"MQTT_BROKER": "127.0.0.1", "MQTT_PORT": str(broker.port)}
    sentences = failed(verify(environment, "--url", fake(status, kind, body), "--timeout", "1"))
    assert came in sentences["Backend health"]
    assert len(sentences) == 12


@pytest.mark.process
def test_nothing_that_answers_with_any_json_ends_it(
    broker: Mosquitto, fake: Callable[..., str]
) -> None:
    environment = dict(os.environ) | {"MQTT_BROKER": "127.0.0.1", "MQTT_PORT": str(broker.port)}
    strange: dict[str, Any] = {"status": "healthy", "message": None, "version": "1", "data": [7]}
    strange |= {"connected": True, "clientId": [], "messageCount": {}}
    strange["streams"] = [
        {"name": ["x"], "topic": 1, "device": 1, "timestamp_required": 1, "metrics": []}
    ]
    url = fake(200, "application/json", json.dumps(strange).encode())
    assert len(failed(verify(environment, "--url", url, "--timeout", "1"))) == 10


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h",
        "127.0.0.1:5000",
        "http://",
        "http://h:99999",
        "http://h:0",
        "http://h?x",
        "http://[::1",
        "http://a b",
    ],
)
def test_an_address_that_is_none_says_what_is_expected(url: str) -> None:
    with pytest.raises(
        ValueError, match=r": expected an address such as http://127\.0\.0\.1:5000$"
    ):
        server_url(url)


def test_a_bad_address_is_a_fault_in_the_usage(backend: BackendProcess) -> None:
    run = as_a_program(backend, "--url", "ftp://h")
    assert run.returncode == 2
    assert run.stderr.endswith(
        "Invalid value for '--url': 'ftp://h': expected an address such as http://127.0.0.1:5000\n"
    )


@pytest.mark.process
@pytest.mark.parametrize(("variable", "value"), [("MQTT_PORT", "x"), ("STREAMS_DIR", "/")])
def test_a_fault_in_the_settings_is_one_line(variable: str, value: str) -> None:
    command = [sys.executable, "-m", "flask", "verify"]
    environment = dict(os.environ) | {variable: value}
    run = subprocess.run(
        command,
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stdout, len(run.stderr.splitlines())) == (1, "", 1)
    assert value in run.stderr


def test_its_readings_are_understood_whatever_the_shape_of_the_stream(
    settings: Callable[..., Settings], declare: Callable[..., str]
) -> None:
    streams = declaration.declared(settings(streams_dir=declare(**SHAPES)))
    values = {}
    for stream in streams:
        sample = plausible(stream)
        said = Message(sample.topic, json.dumps(sample.payload).encode(), clock.now())
        parsed = Parser(streams).parse(said)
        assert isinstance(parsed, Reading), parsed
        assert (parsed.device_id, clock.rfc3339(parsed.timestamp)) == (
            DEVICE,
            sample.expected["timestamp"],
        )
        values[stream.name] = parsed.values
    assert values == {"named": (50.0,), "nested": (7.0, 8.0, 112.0), "states": ("open",)}
