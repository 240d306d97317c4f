"""Child processes of a measurement: the product and what it is compared with, each in a process of its own."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from config import PROJECT

_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "XDG_RUNTIME_DIR")
Process = subprocess.Popen[str]


def free_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether something accepts connections on a loopback port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Ask again and again until the answer is truthy. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.05)


def settings(folder: Path, database_url: str, mqtt_port: int, **more: str) -> dict[str, str]:
    """The environment variables of a backend whose files are in `folder`."""
    return {
        "DATABASE_URL": database_url,
        "MQTT_BROKER": "127.0.0.1",
        "MQTT_PORT": str(mqtt_port),
        "FLASK_HOST": "127.0.0.1",
        "LOG_FILE": str(folder / "autoforge.log"),
        **more,
    }


@contextlib.contextmanager
def running(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[Process]:
    """A process with these settings and no others; it is ended by SIGTERM. Its console goes into the folder."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT}
    with (folder / "console.txt").open("a") as console:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**kept, "PYTHONPATH": str(PROJECT), **environment},
            stdout=subprocess.PIPE,
            stderr=console,
            text=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def answer(process: Process, seconds: float = 600) -> dict[str, Any]:
    """The JSON that a process prints as its last line. Raises RuntimeError when it fails."""
    output, _ = process.communicate(timeout=seconds)
    if process.returncode != 0:
        raise RuntimeError(f"{process.args!r} ended with exit code {process.returncode}")
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def python(module: str, *arguments: object) -> list[str]:
    """The command that runs a module with this interpreter."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def healthy(port: int) -> bool:
    """Whether a backend is up, subscribed and healthy."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5) as response:
            return bool(json.load(response)["status"] == "healthy")
    except (OSError, ValueError, urllib.error.URLError):
        return False
