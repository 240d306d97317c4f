"""Child processes of a measurement: the product and its baselines, each in its own process."""

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

from config import PROJECT
from utils.json_types import JsonObject

_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "XDG_RUNTIME_DIR")
Process = subprocess.Popen[str]


def free_port() -> int:
    """Return a loopback port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Return whether a loopback port accepts connections."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Poll the condition until it is truthy. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"timed out after {seconds:.0f} s waiting for {what}")
        time.sleep(0.05)


def settings(folder: Path, database_url: str, mqtt_port: int, **more: str) -> dict[str, str]:
    """Return the environment variables of a backend whose files are in `folder`."""
    return {
        "DATABASE_URL": database_url,
        "MQTT_BROKER": "127.0.0.1",
        "MQTT_PORT": str(mqtt_port),
        "FLASK_HOST": "127.0.0.1",
        "LOG_FILE": str(folder / "autoforge.log"),
        **more,
    }


@contextlib.contextmanager
def running(
    command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> Iterator[Process]:
    """Run a process with these settings and no others; end it by SIGTERM.

    Its stderr is appended to `console.txt` in the folder.
    """
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


def answer(process: Process, seconds: float = 600) -> JsonObject:
    """Return the JSON that a process prints as its last line.

    Raises RuntimeError if the process fails.
    """
    output, _ = process.communicate(timeout=seconds)
    if process.returncode != 0:
        raise RuntimeError(f"{process.args!r} exited with code {process.returncode}")
    result: JsonObject = json.loads(output.splitlines()[-1])
    return result


def python(module: str, *arguments: object) -> list[str]:
    """Return the command that runs a module with this interpreter."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def healthy(port: int) -> bool:
    """Return whether a backend reports that it is healthy."""
    url = f"http://127.0.0.1:{port}/api/health"
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(json.load(response)["status"] == "healthy")
    except (OSError, ValueError, urllib.error.URLError):
        return False
