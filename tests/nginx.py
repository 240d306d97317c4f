"""nginx with the shipped configuration, and what may stand behind it, for the tests."""

import http.client
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support import PROJECT, free_port, missing, wait_for

CLIENT = "127.0.0.2"


class Nginx:
    """nginx with the shipped configuration, on a port and in a folder of its own."""

    def __init__(
        self,
        folder: Path,
        backend_port: int,
        changes: Callable[[str], str] = str,
        live_port: int | None = None,
    ) -> None:
        self.port = free_port()
        binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if binary is None:
            missing("nginx")
        self._binary = str(binary)
        self._folder = folder / "nginx"
        self._folder.mkdir()
        site = (PROJECT / "deploy" / "nginx.conf").read_text()
        assert "listen 80;" in site
        site = site.replace("listen 80;", f"listen 127.0.0.1:{self.port};")
        for shipped, port in ((5000, backend_port), (5001, live_port or free_port())):
            assert f"http://127.0.0.1:{shipped}" in site
            site = site.replace(f"http://127.0.0.1:{shipped}", f"http://127.0.0.1:{port}")
        site = changes(site)
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
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=15, source_address=(CLIENT, 0)
        )
        sent = {"Content-Type": "application/json", "Host": "sensors.example"} | (headers or {})
        connection.request("GET" if body is None else "POST", path, body, sent)
        return answer_of(connection)


def answer_of(connection: http.client.HTTPConnection) -> tuple[int, dict[str, Any]]:
    """The status code and the JSON of an answer."""
    answer = connection.getresponse()
    told = json.load(answer)
    connection.close()
    return answer.status, told


class LiveProcess(ThreadingHTTPServer):
    """Stands where the live process is; answers with the path it was asked for, and remembers the headers."""

    def __init__(self) -> None:
        self.headers: list[Message] = []
        super().__init__(("127.0.0.1", 0), LiveRequest)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])


class LiveRequest(BaseHTTPRequestHandler):
    """A request to it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        assert isinstance(self.server, LiveProcess)
        self.server.headers.append(self.headers)
        body = json.dumps({"path": self.path}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
