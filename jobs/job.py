"""The base class of jobs."""

from typing import ClassVar

from sqlalchemy import Connection

from broker.notifier import ChangeSet


class Job:
    """Work that one process does for all, every `interval` seconds and after certain changes."""

    name: ClassVar[str]
    """The name of the job in `/api/health`; at most 40 characters."""
    interval: ClassVar[float]
    """Seconds between two runs."""

    def run(self, connection: Connection) -> None:
        """Do the work that is due. Raises Unavailable, PublishError; the worker retries later."""
        raise NotImplementedError

    def waits_for(self, changes: ChangeSet) -> bool:  # noqa: ARG002 - for subclasses
        """Return whether the job is due at once after these changes."""
        return False

    def leave(self) -> None:
        """Release what only the process that runs the job may hold: another process runs it."""

    def without_database(self) -> None:
        """Do the work that is possible while the database is unavailable. Raises PublishError."""

    def close(self) -> None:
        """Release everything when the worker stops."""
