"""A job: work that one process does for all, again and again."""

from typing import ClassVar

from sqlalchemy import Connection

from broker.notifier import ChangeSet


class Job:
    """Work that is done every `interval` seconds, and as soon as a change is notified that it waits for."""

    name: ClassVar[str]
    """At most 40 characters; `/api/health` tells the state of the job by it."""
    interval: ClassVar[float]
    """Seconds between two runs."""

    def run(self, connection: Connection) -> None:
        """Do what is due now. Raises Unavailable, PublishError: it is tried again after the interval."""
        raise NotImplementedError

    def waits_for(self, changes: ChangeSet) -> bool:  # noqa: ARG002 - the change, for those that wait for some
        """Whether a change makes it due at once."""
        return False

    def leave(self) -> None:
        """Give up what only the process that does the job may have: another one does it."""

    def without_database(self) -> None:
        """Do what can be done while the database is away. Raises PublishError."""

    def close(self) -> None:
        """End it cleanly."""
