"""The folder of the embedded broker: its configuration, the login of AutoForge's own clients, and who else gets in."""

import contextlib
import json
import os
import secrets
import signal
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from utils.files import replace

USER = "autoforge"
MAX_PAYLOAD = 16_000_000
MAX_IN_FLIGHT = 500
"""Unacknowledged messages of each filter. NATS takes 65,535 for a session, and counts a filter that ends in # twice."""
_CLOSED, _OPEN = "WEBSOCKET", "MQTT"
"""The kind of connection that a client without a login may make; nothing listens for the first."""
_CONFIGURATION = """\
# Written by AutoForge at each start.
server_name: autoforge
listen: "127.0.0.1:-1"
pid_file: {pid_file}
max_payload: {max_payload}
jetstream {{ store_dir: {store}, max_file_store: {max_mb}MB, sync_interval: "1s" }}
mqtt {{ listen: {listen}, max_ack_pending: {max_ack_pending}, ack_wait: "24h" }}
authorization {{ users: [
  {{ user: {user}, password: {password} }}
  {{ user: device, password: {nobody}, allowed_connection_types: [{admitted}] }}
] }}
no_auth_user: device
"""


class Store(NamedTuple):
    """The folder in which an embedded broker keeps what it holds."""

    folder: Path

    @property
    def configuration(self) -> Path:
        """The server's configuration file."""
        return self.folder / "broker.conf"

    @property
    def pid_file(self) -> Path:
        """Where the server writes the id of its process."""
        return self.folder / "broker.pid"

    def password(self) -> str | None:
        """The password of AutoForge's own clients, user USER; None where no embedded broker was started."""
        try:
            return (self.folder / "password").read_text()
        except OSError:
            return None

    @property
    def lock(self) -> FileLock:
        """The lock that whoever runs the server holds."""
        return FileLock(self.folder / "broker.lock", thread_local=False)

    def configure(self, host: str, port: int, max_mb: int) -> None:
        """Write the configuration of a server on an address that lets in nobody but USER. Raises OSError."""
        password = self.password() or secrets.token_urlsafe(24)
        replace(self.folder / "password", password.encode())
        at = f"[{host}]" if ":" in host else host
        text = _CONFIGURATION.format(
            pid_file=json.dumps(str(self.pid_file)),
            max_payload=MAX_PAYLOAD,
            store=json.dumps(str(self.folder.resolve())),
            max_mb=max_mb,
            listen=json.dumps(f"{at}:{port}"),
            max_ack_pending=MAX_IN_FLIGHT,
            user=json.dumps(USER),
            password=json.dumps(password),
            nobody=json.dumps(secrets.token_urlsafe(24)),
            admitted=json.dumps(_CLOSED),
        )
        replace(self.configuration, text.encode())

    def admit(self) -> None:
        """Let in clients without a login, now that a session keeps what they publish. Raises OSError."""
        if not self.configuration.exists():
            return
        before = self.configuration.read_text()
        after = before.replace(json.dumps(_CLOSED), json.dumps(_OPEN))
        if after != before:
            replace(self.configuration, after.encode())
            # One that has just ended reads it when it is started again.
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                os.kill(int(self.pid_file.read_text()), signal.SIGHUP)
