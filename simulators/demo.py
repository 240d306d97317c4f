"""`make demo`: the backend with simulated devices of every kind, and what to type to see their readings."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from config import PROJECT, Settings, SettingsError, load_settings

START_SECONDS = 30.0
SIMULATORS = {
    "sensors": ("--devices", "3"),
    "machines": ("--devices", "2", "--rate", "1"),
    "panels": ("--devices", "1", "--rate", "4"),
    "soil": ("--devices", "1", "--rate", "0.2"),
}
"""The devices of each stream; some talk more often than real ones, so that there is something to see."""


def main() -> None:
    """Run until Ctrl-C; whatever cannot start says why in one line."""
    os.environ.setdefault("DATABASE_URL", f"sqlite:///{Path.cwd()}/demo.db")
    os.environ.setdefault("LOG_FILE", f"{Path.cwd()}/demo.log")
    os.environ.setdefault("FLASK_HOST", "127.0.0.1")
    os.environ["PYTHONPATH"] = str(PROJECT)
    try:
        settings = load_settings(_env_file=None)
    except SettingsError as error:
        sys.exit(str(error))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder:
        _run(settings, Path(folder))


def _run(settings: Settings, folder: Path) -> None:
    backend = _start(folder, str(PROJECT / "app.py"))
    processes = [backend]
    try:
        _wait_for(settings, "/api/health", backend)
        for stream, options in SIMULATORS.items():
            processes.append(_start(folder, "-m", "simulators", "--stream", stream, *options))
        for stream in SIMULATORS:
            _wait_for(settings, f"/api/{stream}/latest", backend)
        print(_instructions(settings), flush=True)
        backend.wait()
    except KeyboardInterrupt:
        print("\nEnding the demo; its readings stay in demo.db", flush=True)
    finally:
        _end(processes)


def _start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    # In a folder without `.env`, so that no simulated reading goes to the broker and the database of real devices;
    # in a session of its own, so that Ctrl-C reaches this program alone, which ends the others in order.
    return subprocess.Popen([sys.executable, *arguments], cwd=folder, start_new_session=True)


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    """The devices first, so that they can say goodbye; the backend is the first of the processes."""
    for group in (processes[1:], processes[:1]):
        for process in group:
            process.terminate()
        for process in group:
            process.wait()


def _wait_for(settings: Settings, path: str, backend: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if backend.poll() is not None:
            sys.exit(backend.returncode)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{settings.flask_port}{path}", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    sys.exit(f"Nothing answered at {path} within {START_SECONDS:.0f} s; the lines above say why")


def _instructions(settings: Settings) -> str:
    url = f"http://localhost:{settings.flask_port}"
    return f"""
AutoForge is running with three ESP32 boards, two machines, an energy panel and a soil probe; Ctrl-C ends it.

  API documentation   {url}/api/docs
  Health              {url}/api/health
  MQTT broker         {settings.broker}

Try in another terminal:

  curl '{url}/api/sensors/latest?device_id=ESP32_001'
  curl '{url}/api/sensors/history?limit=5'
  curl '{url}/api/sensors/stats?from=-1h'

Or in a browser:

  Machines   {url}/api/sensor/latest
             {url}/api/machines/oee?device_id=C_FL001&from=-1h
  Panel      {url}/api/mqtt/last-values
             {url}/api/panels/energy?device_id=trafo1&from=-1h&interval=hour
  Soil       {url}/api/soil-health/history?limit=5
             {url}/api/soil-health/optimal-ranges
"""


if __name__ == "__main__":
    main()
