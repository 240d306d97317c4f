"""What `deploy/` ships: nginx in front, the systemd units, the container files."""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import app
from tests.support import PROJECT, Backend, free_port, missing, payload, wait_for

DEPLOY = PROJECT / "deploy"
CLIENT = "127.0.0.2"
SEEN = """
from flask import jsonify, request
from app import create_app
from config import load_settings

app = create_app(load_settings())

@app.get("/seen")
def seen():
    return jsonify(client=request.remote_addr, host=request.host, scheme=request.scheme, prefix=request.script_root)
"""
FORGED = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "/evil"}


class Nginx:
    """nginx with the shipped configuration, on a port and in a folder of its own."""

    def __init__(self, folder: Path, backend_port: int, changes: Callable[[str], str] = str) -> None:
        self.port = free_port()
        binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if binary is None:
            missing("nginx")
        self._binary = str(binary)
        self._folder = folder / "nginx"
        self._folder.mkdir()
        site = (DEPLOY / "nginx.conf").read_text()
        assert "listen 80;" in site
        assert "http://127.0.0.1:5000" in site
        site = site.replace("listen 80;", f"listen 127.0.0.1:{self.port};")
        site = changes(site.replace("http://127.0.0.1:5000", f"http://127.0.0.1:{backend_port}"))
        self._config = self._folder / "nginx.conf"
        self._config.write_text(self._around(site))
        self._process: subprocess.Popen[bytes] | None = None

    def _around(self, site: str) -> str:
        folder = self._folder
        user = "user root;" if os.geteuid() == 0 else ""
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
        return (
            f"{user} daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n"
            f"events {{}}\nhttp {{ access_log off;\n{temporary}\n{site}\n}}\n"
        )

    def __enter__(self) -> "Nginx":
        log = self._folder / "error.log"
        self._process = subprocess.Popen([self._binary, "-e", str(log), "-c", str(self._config)])
        wait_for(self._listens, what="nginx")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False

    def ask(
        self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """The status code and the JSON of an answer to a client at another address than nginx."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15, source_address=(CLIENT, 0))
        sent = {"Content-Type": "application/json", "Host": "sensors.example"} | (headers or {})
        connection.request("GET" if body is None else "POST", path, body, sent)
        return answer_of(connection)


def answer_of(connection: http.client.HTTPConnection) -> tuple[int, dict[str, Any]]:
    answer = connection.getresponse()
    told = json.load(answer)
    connection.close()
    return answer.status, told


def announced(port: int, size: int) -> tuple[int, dict[str, Any]]:
    """The answer to a POST that says how large its body is, and sends none of it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    headers = {"Content-Type": "application/json", "Content-Length": str(size)}
    connection.request("POST", "/api/sensors/readings", headers=headers)
    return answer_of(connection)


@pytest.fixture
def seeing(tmp_path: Path) -> Iterator[Callable[..., Backend]]:
    """Starts a backend under gunicorn with one more path, /seen, which tells what it knows of the client."""
    backends: list[Backend] = []
    (tmp_path / "seen.py").write_text(SEEN)

    def start(**environment: str) -> Backend:
        port = free_port()
        command = [sys.executable, "-m", "gunicorn", "--no-control-socket", "-b", f"127.0.0.1:{port}", "seen:app"]
        backend = Backend(tmp_path, command, FLASK_PORT=str(port), **environment)
        backends.append(backend.start())
        return backend

    yield start
    for backend in backends:
        backend.stop()


@pytest.fixture
def proxied(tmp_path: Path, embedded_broker: int) -> Iterator[tuple[Backend, Nginx]]:
    """AutoForge as it is deployed: nginx, gunicorn with its configuration, a broker."""
    folder = tmp_path / "backend"
    folder.mkdir()
    command = [sys.executable, "-m", "gunicorn", "--no-control-socket", "-c", str(PROJECT / "gunicorn.conf.py")]
    backend = Backend(folder, [*command, "app:app"], MQTT_PORT=str(embedded_broker), PROXY_COUNT="1").start()
    with Nginx(tmp_path, backend.port) as nginx:
        yield backend, nginx
    backend.stop()


def test_the_backend_works_through_nginx(proxied: tuple[Backend, Nginx]) -> None:
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


def test_nginx_and_the_backend_have_the_same_limit_for_a_body(proxied: tuple[Backend, Nginx]) -> None:
    backend, nginx = proxied
    reading = payload(device_id="board-1").encode()
    assert nginx.ask("/api/sensors/readings", reading.ljust(app.MAX_BODY))[0] == 201
    refusal = announced(nginx.port, app.MAX_BODY + 1)
    assert refusal[0] == 413
    assert refusal == announced(backend.port, app.MAX_BODY + 1)


def test_nginx_says_in_json_that_the_backend_is_away(tmp_path: Path) -> None:
    with Nginx(tmp_path, free_port()) as nginx:
        assert nginx.ask("/api/health") == (503, {"message": "AutoForge does not answer. Try again"})


def test_one_counted_proxy_tells_the_client_and_the_host(tmp_path: Path, seeing: Callable[..., Backend]) -> None:
    backend = seeing(PROXY_COUNT="1")
    told = {"client": CLIENT, "host": "sensors.example", "scheme": "http", "prefix": ""}
    with Nginx(tmp_path, backend.port) as nginx:
        assert nginx.ask("/seen") == (200, told)
        assert nginx.ask("/seen", headers=FORGED) == (200, told), "what a client says of itself is not believed"


def test_one_counted_proxy_tells_the_prefix(tmp_path: Path, seeing: Callable[..., Backend]) -> None:
    def below_a_path(site: str) -> str:
        port = re.search(r"proxy_pass (http://\S+);", site)
        assert port is not None
        site = site.replace("location / {", "location /autoforge/ {").replace(port[1], f"{port[1]}/")
        return site.replace('X-Forwarded-Prefix ""', "X-Forwarded-Prefix /autoforge")

    backend = seeing(PROXY_COUNT="1")
    with Nginx(tmp_path, backend.port, below_a_path) as nginx:
        assert nginx.ask("/autoforge/seen")[1]["prefix"] == "/autoforge"
        assert nginx.ask("/autoforge/api/streams")[0] == 200


def test_no_proxy_is_believed_unless_it_is_counted(tmp_path: Path, seeing: Callable[..., Backend]) -> None:
    backend = seeing()
    with Nginx(tmp_path, backend.port) as nginx:
        assert nginx.ask("/seen", headers=FORGED)[1]["client"] == "127.0.0.1", "nginx itself"
    direct = http.client.HTTPConnection("127.0.0.1", backend.port, timeout=15)
    direct.request("GET", "/seen", headers=FORGED)
    told = {"client": "127.0.0.1", "host": f"127.0.0.1:{backend.port}", "scheme": "http", "prefix": ""}
    assert answer_of(direct) == (200, told)


def test_nginx_has_the_limit_of_the_backend() -> None:
    found = re.search(r"client_max_body_size (\d+);", (DEPLOY / "nginx.conf").read_text())
    assert found is not None
    assert int(found[1]) == app.MAX_BODY


@pytest.mark.parametrize("unit", ["autoforge.service", "autoforge-ingest.service"])
def test_systemd_accepts_the_unit(unit: str, tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("systemd-analyze is not on this machine")
    text = (DEPLOY / unit).read_text()
    # The programs need not be where they will be.
    text = re.sub(r"/opt/autoforge/\.venv/bin/\S+", sys.executable, text)
    (tmp_path / unit).write_text(text)
    done = subprocess.run([verify, "verify", str(tmp_path / unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_units_start_programs_of_the_project() -> None:
    rest = re.search(
        r"^ExecStart=\S+/gunicorn -c (\S+) app:app$", (DEPLOY / "autoforge.service").read_text(), re.MULTILINE
    )
    assert rest is not None
    assert (PROJECT / rest[1]).is_file()
    assert "/python -m ingest\n" in (DEPLOY / "autoforge-ingest.service").read_text()


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


def test_the_health_check_of_the_image_says_whether_the_backend_answers(tmp_path: Path, embedded_broker: int) -> None:
    found = re.search(r"^HEALTHCHECK .*?CMD (\[.*?\])$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    _, *arguments = json.loads(found[1])
    backend = Backend(tmp_path, MQTT_PORT=str(embedded_broker))

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
    assert {".env", ".git", ".venv", "*.db", "tests"} <= set(ignored)
    needed = [path.name for path in PROJECT.glob("*.py")] + ["ingest", "migrations", "routes", "streams", "utils"]
    assert not set(needed) & set(ignored)


def test_the_broker_of_the_compose_file_wants_a_password(tmp_path: Path) -> None:
    """Runs the broker's command of the compose file with its folder moved and its port closed to the network."""
    if shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None:
        missing("mosquitto")
    port = free_port()
    script = (
        compose_script().replace("/mosquitto/", f"{tmp_path}/").replace("listener 1883", f"listener {port} 127.0.0.1")
    )
    script = script.replace("chown mosquitto", "true")  # it stays with this user
    (tmp_path / "data").mkdir()
    user = "\nuser root\n" if os.geteuid() == 0 else ""
    (tmp_path / "shipped.conf").write_text((DEPLOY / "mosquitto.conf").read_text() + user)
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/bin:/usr/local/sbin",
        "MQTT_USERNAME": "boards",
        "MQTT_PASSWORD": "pw 1",
    }
    with (tmp_path / "log").open("wb") as log:
        broker = subprocess.Popen(["/bin/sh", "-ec", script], env=environment, stdout=log, stderr=log)
    try:
        settings = {"MQTT_BROKER": "127.0.0.1", "MQTT_PORT": str(port)}
        wait_for(lambda: simulated(settings, user="boards", password="pw 1") == 0, what="the broker")
        assert simulated(settings) != 0
        assert simulated(settings, user="boards", password="wrong") != 0
    finally:
        broker.terminate()
        broker.wait(10)


def compose_script() -> str:
    text = (DEPLOY / "compose.yaml").read_text()
    body = text.split("      - |\n", 1)[1].split("    ports:", 1)[0]
    return re.sub(r"^ {8}", "", body, flags=re.MULTILINE).replace("$$", "$")


def simulated(settings: dict[str, str], user: str = "", password: str = "") -> int:
    """The exit code of a simulated device that publishes once."""
    login = {"MQTT_USERNAME": user, "MQTT_PASSWORD": password} if user else {}
    command = [sys.executable, "-m", "simulators", "--devices", "1", "--count", "1", "--rate", "0"]
    environment = {"PATH": os.environ["PATH"]} | settings | login
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, check=False).returncode
