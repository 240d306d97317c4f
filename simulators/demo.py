"""`make demo`: the backend with simulated devices, and commands to see their readings."""

import http.client
import json
import os
import signal
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from broker import embedded
from broker.embedded import EmbeddedBroker
from config import PROJECT, Settings, SettingsError, load_settings
from simulators.children import Children
from simulators.console import Console
from utils.files import keep_private

START_SECONDS = 30.0
RENEW_SECONDS = 1.0
MOST_TRIED = 100
"""How many ports to try in turn, unless the environment names one."""
SIMULATORS = {
    "sensors": ("--devices", "3"),
    "machines": ("--devices", "2", "--rate", "1"),
    "panels": ("--devices", "1", "--rate", "4"),
    "soil": ("--devices", "1", "--rate", "0.2"),
}
"""The devices of each stream; some report faster than real ones, so that values change."""
T = TypeVar("T")


class CannotRunError(Exception):
    """The demo cannot start or continue; the text says why."""


def main() -> int:
    """Run until Ctrl-C, with exit code 0; print an error and return 1 if the demo cannot run."""
    keep_private()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    console = Console()
    try:
        with tempfile.TemporaryDirectory(prefix="autoforge-demo-") as folder:
            _run(Path(folder), console)
    except KeyboardInterrupt:
        return 0
    except (SettingsError, CannotRunError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        console.show("")
    return 0


def _run(folder: Path, console: Console) -> None:
    with ExitStack() as stack:
        broker = _prepare(folder)
        stack.callback(broker.stop)
        settings = load_settings(_env_file=None)
        children = stack.enter_context(Children(folder, console))
        children.start("The backend", str(PROJECT / "app.py"))
        _wait_for(partial(_is_ready, settings), "The backend has not subscribed", children)
        for stream, options in SIMULATORS.items():
            arguments = ("-m", "simulators", "--stream", stream, *options)
            children.start(f"The simulator of {stream}", *arguments, prefix=f"{stream}: ")
        for stream in SIMULATORS:
            path = f"/api/{stream}/latest"
            _wait_for(partial(_ask, settings, path), f"There is no reading at {path}", children)
        console.print(_instructions(settings))
        _watch(settings, console, children)


def _prepare(folder: Path) -> EmbeddedBroker:
    """Start a broker for the demo, and set the environment for it. Raises SettingsError."""
    os.environ.setdefault("DATABASE_URL", f"sqlite:///{folder}/demo.db")
    os.environ.setdefault("LOG_FILE", f"{folder}/demo.log")
    os.environ.setdefault("FLASK_HOST", "127.0.0.1")
    os.environ["PYTHONPATH"] = str(PROJECT)
    # The readings are made up: they must not go to a broker of real devices.
    for name in [
        name
        for name in os.environ
        if name.upper().startswith("MQTT_") and name.upper() != "MQTT_PORT"
    ]:
        del os.environ[name]
    settings = load_settings(_env_file=None)
    port = _first(_ports(settings, "flask_port", 5000), partial(_free_port, settings))
    # Started here, so that no other demo uses it; the backend finds it by its port and folder.
    broker = _first(_ports(settings, "mqtt_port", 1883), partial(_broker, settings))
    os.environ |= {"FLASK_PORT": str(port), "MQTT_PORT": str(broker.port)}
    return broker


def _broker(settings: Settings, port: int) -> EmbeddedBroker:
    return embedded.start(settings.model_copy(update={"mqtt_port": port}))


def _ports(settings: Settings, name: str, usual: int) -> Iterable[int]:
    """Return the port that the environment names, or the ports to try."""
    if name in settings.model_fields_set:
        return [getattr(settings, name)]
    return range(usual, usual + MOST_TRIED)


def _first(ports: Iterable[int], attempt: Callable[[int], T]) -> T:
    """Return the result for the first port that can be used. Raises SettingsError."""
    fault = SettingsError()
    for port in ports:
        try:
            return attempt(port)
        except SettingsError as error:
            fault = error
    raise fault


def _free_port(settings: Settings, port: int) -> int:
    host = settings.flask_host
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise SettingsError(
            f"FLASK_PORT={port}: cannot listen on {host}: {error.strerror}"
        ) from error
    return port


def _wait_for(condition: Callable[[], object], fault: str, children: Children) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        _check(children)
        if time.monotonic() > deadline:
            raise CannotRunError(
                f"{fault} within {START_SECONDS:.0f} s; the lines above may say why"
            )
        time.sleep(0.1)


def _check(children: Children) -> None:
    if ended := children.ended():
        raise CannotRunError(f"{ended}; the lines above say why")


def _is_ready(settings: Settings) -> bool:
    """Return whether the backend of this demo, and no other program, receives what is published."""
    mqtt = (_ask(settings, "/api/health") or {}).get("mqtt", {})
    return mqtt.get("broker") == str(settings.broker) and mqtt.get("subscribed") is True


def _watch(settings: Settings, console: Console, children: Children) -> None:
    begun = time.monotonic()
    while True:
        _check(children)
        if console.live and (health := _ask(settings, "/api/health")):
            console.show(_progress(health["mqtt"], time.monotonic() - begun))
        time.sleep(RENEW_SECONDS)


def _progress(mqtt: dict[str, Any], seconds: float) -> str:
    counts = f"{mqtt['stored']:,} readings stored, {mqtt['rejected']:,} rejected"
    rate = mqtt["messages_per_second"] or 0
    lasted = timedelta(seconds=int(seconds))
    return f"{lasted} {counts}, {rate:.1f} messages per second; Ctrl-C ends the demo"


def _ask(settings: Settings, path: str) -> dict[str, Any] | None:
    """Return the backend's answer, or None if there is none or it is an error."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{settings.address}{path}", timeout=2) as response:
            found: dict[str, Any] = json.load(response)
    except (OSError, ValueError, http.client.HTTPException):
        return None
    return found


def _instructions(settings: Settings) -> str:
    local = settings.flask_host in ("127.0.0.1", "0.0.0.0", "::1", "::")  # noqa: S104 - no bind
    url = f"http://localhost:{settings.flask_port}" if local else f"http://{settings.address}"
    return f"""
AutoForge is running with three ESP32 boards, two machines, an energy panel and a soil probe;
Ctrl-C ends it and deletes its readings.

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
    sys.exit(main())
