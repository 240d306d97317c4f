"""The folder of the embedded broker: its configuration, and whether devices may connect."""

import contextlib
import os
import re
import secrets
import signal
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from utils.files import replace

USER = "autoforge-backend"
MAX_PAYLOAD = 16_000_000
MAX_IN_FLIGHT = 500
"""Unacknowledged messages of each filter.

NATS allows 65,535 per session, and counts a filter that ends in # twice.
"""
ACK_SECONDS = 3
"""NATS resends unacknowledged messages after this time, not on a new connection."""
ANYBODY = "a device without a login"
"""The user of clients without a login; no client can give this name."""
_CLOSED, _OPEN = "WEBSOCKET", "MQTT"
"""The connection type that devices may use; the server does not listen for the first."""
_DENIED = ("$JS.>", "$SYS.>", "$MQTT.msgs.>", "$MQTT.rmsgs.>", "$MQTT.sess.>", "$MQTT.JSA.>")
"""Subjects that control NATS: MQTT topics are subjects, and a message there can delete all."""
_RESERVE_MB = 512
"""Added to the limit: a full store accepts no session, so no client could empty it."""
_PLAIN = re.compile(r"[ !#-\[\]-~]")
"""What stands for itself in a string of the configuration: ASCII without quotes and \\."""
_CONFIGURATION = """\
# Written by AutoForge at each start.
server_name: autoforge
listen: "127.0.0.1:-1"
pid_file: {pid_file}
max_payload: {max_payload}
jetstream {{ store_dir: {store}, max_file_store: {store_mb}MB, sync_interval: "1s" }}
mqtt {{ listen: {listen}, max_ack_pending: {max_ack_pending}, ack_wait: "{ack_wait}s"
       consumer_inactive_threshold: "24h" }}
authorization {{ users: [
  {{ user: {user}, password: {password} }}
  {{ user: {device}, password: {device_password}, {admitted}
    permissions: {{ publish: {{ deny: {denied} }}, subscribe: {{ deny: {denied} }} }} }}
] }}
{no_auth_user}
"""


class Options(NamedTuple):
    """The options of a server."""

    host: str
    port: int
    max_mb: int
    login: tuple[str, str] | None = None
    """User name and password that devices must give; None: they must not give any."""


class Store(NamedTuple):
    """The folder in which an embedded broker keeps its messages."""

    folder: Path

    @property
    def configuration(self) -> Path:
        """The server's configuration file."""
        return self.folder / "broker.conf"

    @property
    def pid_file(self) -> Path:
        """Where the server writes the id of its process."""
        return self.folder / "broker.pid"

    @property
    def _password(self) -> Path:
        return self.folder / "password"

    def password(self) -> str | None:
        """The password of the user USER; None where no embedded broker was started."""
        try:
            return self._password.read_text()
        except OSError:
            return None

    @property
    def lock(self) -> FileLock:
        """The lock of the process that runs the server."""
        return FileLock(self.folder / "broker.lock", thread_local=False)

    def forget_login(self) -> None:
        """Remove the files of a server that has ended, after another broker has taken its place."""
        if not self.folder.exists():
            return
        with contextlib.suppress(Timeout), self.lock.acquire(timeout=0):
            for file in (self._password, self.configuration, self.pid_file):
                file.unlink(missing_ok=True)

    def configure(self, options: Options) -> None:
        """Write a configuration that admits only USER. Raises OSError."""
        password = self.password() or secrets.token_urlsafe(24)
        replace(self._password, password.encode())
        host = f"[{options.host}]" if ":" in options.host else options.host
        device, device_password = options.login or (ANYBODY, secrets.token_urlsafe(24))
        text = _CONFIGURATION.format(
            pid_file=_quoted(str(self.pid_file)),
            max_payload=MAX_PAYLOAD,
            store=_quoted(str(self.folder.resolve())),
            store_mb=2 * options.max_mb + _RESERVE_MB,
            denied=f"[{', '.join(map(_quoted, _DENIED))}]",
            listen=_quoted(f"{host}:{options.port}"),
            max_ack_pending=MAX_IN_FLIGHT,
            ack_wait=ACK_SECONDS,
            user=_quoted(USER),
            password=_quoted(password),
            device=_quoted(device),
            device_password=_quoted(device_password),
            admitted=_admitting(_CLOSED),
            no_auth_user="" if options.login else f"no_auth_user: {_quoted(ANYBODY)}",
        )
        replace(self.configuration, text.encode())

    def admits(self) -> bool:
        """Whether devices are admitted."""
        return _admitting(_CLOSED) not in self.configuration.read_text()

    def admit(self) -> None:
        """Admit devices, once a session keeps their messages. Raises OSError."""
        self._turn(_CLOSED, _OPEN)

    def shut_out(self) -> None:
        """Disconnect all devices, and admit none. Raises OSError."""
        self._turn(_OPEN, _CLOSED)

    def megabytes(self) -> float:
        """How much the server holds on disk."""
        sizes = 0
        for folder, _, files in os.walk(self.folder / "jetstream"):
            for file in files:
                with contextlib.suppress(FileNotFoundError):
                    sizes += (Path(folder) / file).stat().st_size
        return sizes / 1_000_000

    def _turn(self, before: str, after: str) -> None:
        old, new = _admitting(before), _admitting(after)
        text = self.configuration.read_text() if self.configuration.exists() else ""
        if old in text:
            replace(self.configuration, text.replace(old, new).encode())
            # A server that has just ended reads it when it is restarted.
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                os.kill(int(self.pid_file.read_text()), signal.SIGHUP)


def _admitting(kind: str) -> str:
    return f"allowed_connection_types: [{_quoted(kind)}]"


def _quoted(text: str) -> str:
    """Return a string of the server's configuration language, which is not that of JSON."""
    # It knows few other escapes. These are of bytes: those of a path need not be UTF-8.
    raw = text.encode(errors="surrogateescape")
    written = (chr(byte) if _PLAIN.fullmatch(chr(byte)) else f"\\x{byte:02x}" for byte in raw)
    return f'"{"".join(written)}"'
