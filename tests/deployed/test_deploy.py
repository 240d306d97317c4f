"""What `deploy/` ships: nginx in front, the systemd units, the container files."""

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import socketio

from routes import application
from routes.arguments import WaitQuery
from routes.live import KEEP_ALIVE_SECONDS
from routes.sockets import PING_INTERVAL
from tests.live import serving
from tests.nginx import CLIENT, LiveProcess, Nginx, answer_of
from tests.processes import LIVE
from tests.support import PROJECT, BackendProcess, free_port, payload, wait_for

DEPLOY = PROJECT / "deploy"
PUBLISHER = "python -m publisher --config /var/lib/autoforge/publisher.json"
SEEN = """
from flask import jsonify, request
from app import create_app
from config import load_settings

app = create_app(load_settings())

@app.get("/seen")
def seen():
    return jsonify(client=request.remote_addr, host=request.host, scheme=request.scheme, prefix=request.script_root)
"""
FORGED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Prefix": "/evil",
}


def announced(port: int, size: int) -> tuple[int, dict[str, Any]]:
    """The answer to a POST that says how large its body is, and sends none of it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    headers = {"Content-Type": "application/json", "Content-Length": str(size)}
    connection.request("POST", "/api/sensors/readings", headers=headers)
    return answer_of(connection)


@pytest.fixture
def live_requests() -> Iterator[LiveProcess]:
    with LiveProcess() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def seeing(tmp_path: Path) -> Iterator[Callable[..., BackendProcess]]:
    """Starts a backend under gunicorn with one more path, /seen, which tells what it knows of the client."""
    backends: list[BackendProcess] = []
    (tmp_path / "seen.py").write_text(SEEN)

    def start(**environment: str) -> BackendProcess:
        port = free_port()
        command = [
            sys.executable,
            "-m",
            "gunicorn",
            "--no-control-socket",
            "-b",
            f"127.0.0.1:{port}",
            "seen:app",
        ]
        backend = BackendProcess(tmp_path, command, FLASK_PORT=str(port), **environment)
        backends.append(backend.start())
        return backend

    yield start
    for backend in backends:
        backend.stop()


@pytest.fixture
def proxied(tmp_path: Path, fast_broker: int) -> Iterator[tuple[BackendProcess, Nginx]]:
    """AutoForge as it is deployed: nginx, gunicorn with its configuration, a broker."""
    folder = tmp_path / "backend"
    folder.mkdir()
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--no-control-socket",
        "-c",
        str(PROJECT / "gunicorn.conf.py"),
    ]
    backend = BackendProcess(
        folder, [*command, "app:app"], MQTT_PORT=str(fast_broker), PROXY_COUNT="1"
    )
    with Nginx(tmp_path, backend.port) as nginx, serving(backend):
        yield backend, nginx


@pytest.mark.process
def test_the_backend_works_through_nginx(proxied: tuple[BackendProcess, Nginx]) -> None:
    backend, nginx = proxied
    wait_for(backend.ready, what="the backend to be healthy")
    reading = payload(device_id="board-1").encode()
    assert nginx.ask("/api/sensors/readings", reading) == (
        201,
        {"stored": 1, "duplicate": 0, "rejected": 0, "errors": []},
    )
    assert nginx.ask("/api/health")[1]["status"] == "healthy"
    assert nginx.ask("/api/sensors/latest?device_id=board-1")[1]["data"]["temperature"] == 24.5
    assert nginx.ask("/api/sensors/latest?device_id=board-2")[0] == 404


@pytest.mark.process
def test_nginx_and_the_backend_have_the_same_limit_for_a_body(
    proxied: tuple[BackendProcess, Nginx],
) -> None:
    backend, nginx = proxied
    reading = payload(device_id="board-1").encode()
    assert nginx.ask("/api/sensors/readings", reading.ljust(application.MAX_BODY))[0] == 201
    refusal = announced(nginx.port, application.MAX_BODY + 1)
    assert refusal[0] == 413
    assert refusal == announced(backend.port, application.MAX_BODY + 1)


@pytest.mark.broker
@pytest.mark.process
def test_nginx_says_in_json_that_the_backend_is_away(tmp_path: Path) -> None:
    with Nginx(tmp_path, free_port()) as nginx:
        assert nginx.ask("/api/health") == (
            503,
            {"message": "AutoForge does not answer. Try again"},
        )


@pytest.mark.broker
@pytest.mark.process
def test_one_counted_proxy_tells_the_client_and_the_host(
    tmp_path: Path, seeing: Callable[..., BackendProcess]
) -> None:
    backend = seeing(PROXY_COUNT="1")
    told = {"client": CLIENT, "host": "sensors.example", "scheme": "http", "prefix": ""}
    with Nginx(tmp_path, backend.port) as nginx:
        assert nginx.ask("/seen") == (200, told)
        assert nginx.ask("/seen", headers=FORGED) == (200, told), (
            "what a client says of itself is not believed"
        )


def below_a_path(site: str) -> str:
    """What the comments in nginx.conf say about serving AutoForge below a path."""
    rest, sockets, live = re.findall(r"proxy_pass (http://\S+);", site)
    for location, below in (("/ {", "/autoforge/ {"), ("/socket.io/ {", "/autoforge/socket.io/ {")):
        assert f"location {location}" in site
        site = site.replace(f"location {location}", f"location {below}")
    site = site.replace("^/api/[^/]+/live$", "^/autoforge(/api/[^/]+/live)$")
    site = site.replace(f"{rest};", f"{rest}/;").replace(f"{sockets};", f"{sockets}/socket.io/;", 1)
    site = site.replace(f"{live};", f"{live}$1$is_args$args;")
    return site.replace('X-Forwarded-Prefix ""', "X-Forwarded-Prefix /autoforge")


@pytest.mark.broker
@pytest.mark.process
def test_one_counted_proxy_tells_the_prefix(
    tmp_path: Path, seeing: Callable[..., BackendProcess]
) -> None:
    backend = seeing(PROXY_COUNT="1")
    with Nginx(tmp_path, backend.port, below_a_path) as nginx:
        assert nginx.ask("/autoforge/seen")[1]["prefix"] == "/autoforge"
        assert nginx.ask("/autoforge/api/streams")[0] == 200


@pytest.mark.process
@pytest.mark.broker
@pytest.mark.parametrize("prefix", ["", "/autoforge"])
def test_nginx_sends_live_clients_to_the_live_process(
    tmp_path: Path, live_requests: LiveProcess, prefix: str
) -> None:
    with Nginx(tmp_path, free_port(), below_a_path if prefix else str, live_requests.port) as nginx:
        for path in (
            "/socket.io/?EIO=4&transport=polling",
            "/api/sensors/live?device_id=a%20b&since=-1m",
        ):
            assert nginx.ask(f"{prefix}{path}") == (200, {"path": path})
        for path in ("/api/sensors/latest", "/api/sensors/live/x", "/api/live", "/socket.iox"):
            assert nginx.ask(f"{prefix}{path}")[0] == 503, "the REST process is away"
    upgrade = live_requests.headers[0]
    assert "Upgrade" not in upgrade
    assert "Connection" not in upgrade


@pytest.mark.process
@pytest.mark.broker
def test_nginx_lets_through_the_upgrade_to_a_websocket(
    tmp_path: Path, live_requests: LiveProcess
) -> None:
    with Nginx(tmp_path, free_port(), live_port=live_requests.port) as nginx:
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "eA=="}
        nginx.ask("/socket.io/?EIO=4&transport=websocket", headers=headers)
        nginx.ask("/socket.io/?EIO=4&transport=polling", headers=headers | {"Upgrade": "h2c"})
    websocket, other = live_requests.headers
    assert (websocket["Upgrade"], websocket["Connection"]) == ("websocket", "upgrade")
    assert websocket["Sec-WebSocket-Key"] == "eA=="
    assert "Connection" not in other


@pytest.mark.process
def test_without_the_live_process_nginx_says_so_in_json(
    proxied: tuple[BackendProcess, Nginx],
) -> None:
    _, nginx = proxied
    away = (503, {"message": "AutoForge does not answer. Try again"})
    assert nginx.ask("/socket.io/?EIO=4&transport=polling") == away
    assert nginx.ask("/api/sensors/live") == away
    assert nginx.ask("/api/streams")[0] == 200


def test_nginx_waits_longer_than_a_request_may_wait_for_a_command() -> None:
    found = re.search(r"proxy_read_timeout (\d+)s;", (DEPLOY / "nginx.conf").read_text())
    longest = WaitQuery.model_json_schema()["properties"]["wait"]["maximum"]
    assert found is not None
    assert int(found[1]) >= longest + 10
    assert int(found[1]) > 2 * max(KEEP_ALIVE_SECONDS, PING_INTERVAL)


@pytest.mark.broker
@pytest.mark.process
def test_no_proxy_is_believed_unless_it_is_counted(
    tmp_path: Path, seeing: Callable[..., BackendProcess]
) -> None:
    backend = seeing()
    with Nginx(tmp_path, backend.port) as nginx:
        assert nginx.ask("/seen", headers=FORGED)[1]["client"] == "127.0.0.1", "nginx itself"
    direct = http.client.HTTPConnection("127.0.0.1", backend.port, timeout=15)
    direct.request("GET", "/seen", headers=FORGED)
    told = {
        "client": "127.0.0.1",
        "host": f"127.0.0.1:{backend.port}",
        "scheme": "http",
        "prefix": "",
    }
    assert answer_of(direct) == (200, told)


def test_nginx_has_the_limit_of_the_backend() -> None:
    found = re.search(r"client_max_body_size (\d+);", (DEPLOY / "nginx.conf").read_text())
    assert found is not None
    assert int(found[1]) == application.MAX_BODY


UNITS = sorted(path.name for path in DEPLOY.glob("*.service"))


@pytest.mark.process
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_accepts_the_unit(unit: str, tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("systemd-analyze is not on this machine")
    text = (DEPLOY / unit).read_text()
    # The programs need not be where they will be.
    text = re.sub(r"/opt/autoforge/\.venv/bin/\S+", sys.executable, text)
    (tmp_path / unit).write_text(text)
    done = subprocess.run(
        [verify, "verify", str(tmp_path / unit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_units_start_programs_of_the_project() -> None:
    started = {}
    for unit in UNITS:
        found = re.search(
            r"^ExecStart=/opt/autoforge/\.venv/bin/(.*)$", (DEPLOY / unit).read_text(), re.MULTILINE
        )
        assert found is not None
        started[unit] = found[1]
    assert started == {
        "autoforge.service": "gunicorn -c gunicorn.conf.py app:app",
        "autoforge-ingest.service": "python -m ingest",
        "autoforge-live.service": LIVE,
        "autoforge-publisher.service": PUBLISHER,
    }
    assert LIVE in (PROJECT / "docs" / "deploy.md").read_text()
    assert "LimitNOFILE=" in (DEPLOY / "autoforge-live.service").read_text()


@pytest.mark.parametrize("unit", UNITS)
def test_the_units_wait_for_the_clock(unit: str) -> None:
    text = (DEPLOY / unit).read_text()
    for key in ("Wants", "After"):
        assert re.search(rf"^{key}=.*\btime-sync\.target\b", text, re.MULTILINE), key


def test_no_two_units_have_the_same_runtime_directory() -> None:
    """systemd deletes it when one of them stops."""
    found = [
        re.findall(r"^RuntimeDirectory=(.*)$", (DEPLOY / unit).read_text(), re.MULTILINE)
        for unit in UNITS
    ]
    names = [name for each in found for name in each]
    assert len(names) == len(set(names))


def test_the_compose_file_starts_the_live_process_beside_the_others() -> None:
    live = (DEPLOY / "compose.yaml").read_text().split("\n  live:\n")[1].split("\n\n")[0]
    command = " ".join(live.split("command: >-\n")[1].split("    environment:")[0].split())
    port = re.search(r"FLASK_PORT: (\d+)", live)
    assert port is not None
    assert command.replace("--worker-tmp-dir /dev/shm ", "") == LIVE.replace(
        "-b 127.0.0.1:5001 ", ""
    )
    assert f"- 127.0.0.1:{port[1]}:{port[1]}\n" in live
    assert f"proxy_pass http://127.0.0.1:{port[1]};" in (DEPLOY / "nginx.conf").read_text()


def test_the_compose_file_publishes_only_where_it_is_asked_for() -> None:
    service = (DEPLOY / "compose.yaml").read_text().split("\n  publisher:\n")[1].split("\n\n")[0]
    assert f"command: {PUBLISHER.replace('/var/lib/autoforge', '/data')}\n" in service
    assert "profiles: [publisher]\n" in service
    assert "ports: []\n" in service, "those of autoforge are taken"
    assert "disable: true" in service, "the health check of the image asks a server"


@pytest.mark.process
def test_the_publisher_command_publishes_and_ends_at_once(tmp_path: Path, fast_broker: int) -> None:
    file = tmp_path / "publisher.json"
    file.write_text('[{"id": "boiler", "topic": "plant/boiler", "data": {}, "interval": 1}]')
    command = [sys.executable, *PUBLISHER.replace("/var/lib/autoforge", str(tmp_path)).split()[1:]]
    publisher = BackendProcess(tmp_path, command, MQTT_PORT=str(fast_broker)).start(wait=False)
    wait_for(
        lambda: "Connected to the broker" in publisher.console.read_text(), what="its connection"
    )
    assert publisher.stop() == 0
    assert "Traceback" not in publisher.console.read_text()


def test_a_reload_of_the_publisher_is_the_signal_that_it_takes() -> None:
    unit = (DEPLOY / "autoforge-publisher.service").read_text()
    assert "\nExecReload=/bin/kill -HUP $MAINPID\n" in unit
    assert "\nStateDirectory=autoforge\n" in unit, "where its file is"


@pytest.mark.process
def test_the_live_command_serves_socket_io(tmp_path: Path, fast_broker: int) -> None:
    port = free_port()
    command = [sys.executable, "-m", *LIVE.replace(":5001", f":{port}").split()]
    command[command.index("gunicorn.conf.py")] = str(PROJECT / "gunicorn.conf.py")
    backend = BackendProcess(
        tmp_path, command, FLASK_PORT=str(port), MQTT_PORT=str(fast_broker)
    ).start()
    client = socketio.SimpleClient()
    client.connect(f"http://127.0.0.1:{port}", wait_timeout=10)
    assert client.call("subscribe", {"stream": "sensors"}, timeout=10)["message"] == "subscribed"
    client.disconnect()
    backend.stop()


def test_the_image_starts_gunicorn_as_an_ordinary_user_with_a_health_check() -> None:
    lines = (PROJECT / "Dockerfile").read_text()
    assert re.search(r"^USER (?!root)", lines, re.MULTILINE)
    health = re.search(r"^HEALTHCHECK .*?CMD (\[.*?\])$", lines, re.MULTILINE | re.DOTALL)
    start = re.search(r"^CMD (\[.*\])$", lines, re.MULTILINE)
    assert health is not None
    assert start is not None
    assert json.loads(start[1])[:3] == ["gunicorn", "-c", "gunicorn.conf.py"]
    for copied in re.findall(r"^COPY (\S+) ", lines, re.MULTILINE):
        assert (PROJECT / copied).exists()


@pytest.mark.process
def test_the_health_check_of_the_image_says_whether_the_backend_answers(
    tmp_path: Path, fast_broker: int
) -> None:
    found = re.search(
        r"^HEALTHCHECK .*?CMD (\[.*?\])$",
        (PROJECT / "Dockerfile").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    assert found is not None
    _, *arguments = json.loads(found[1])
    backend = BackendProcess(tmp_path, MQTT_PORT=str(fast_broker))

    def check() -> int:
        environment = os.environ | {"FLASK_PORT": str(backend.port)}
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, check=False).returncode

    backend.start()
    assert check() == 0
    backend.stop()
    assert check() != 0


def test_nothing_secret_or_built_goes_into_the_image() -> None:
    ignored = (PROJECT / ".dockerignore").read_text().splitlines()
    assert {".env", ".git", ".venv", "*.db", "**/tests", "conftest.py"} <= set(ignored)
    needed = [path.name for path in PROJECT.glob("*.py") if path.name != "conftest.py"] + [
        "ingest",
        "migrations",
        "routes",
        "streams",
        "utils",
    ]
    assert not set(needed) & set(ignored)
