"""The tally: counts of the readings of all boards, by outcome."""

from dataclasses import dataclass


@dataclass
class Tally:
    """Counts of readings; only the posting thread changes the last two."""

    measured: int = 0
    invalid: int = 0
    """How many of the measured readings are broken on purpose."""
    published: int = 0
    """Handed to MQTT."""
    acknowledged: int = 0
    refused: int = 0
    """Acknowledged by the broker with an error (MQTT 5 only)."""
    posted: int = 0
    """Accepted by the backend over HTTP."""
    turned_down: int = 0
    """Refused by the backend over HTTP."""

    @property
    def outstanding(self) -> int:
        """How many readings are neither accepted nor refused yet."""
        return self.measured - self.acknowledged - self.refused - self.posted - self.turned_down

    @property
    def held(self) -> int:
        """How many readings wait here and were not handed to MQTT."""
        return self.measured - self.published - self.posted - self.turned_down

    @property
    def complete(self) -> bool:
        """Whether every reading was acknowledged or posted."""
        return self.acknowledged + self.posted == self.measured

    def summary(self) -> str:
        """Return the final line of a run."""
        line = (
            f"published {self.published}, acknowledged {self.acknowledged}, invalid {self.invalid}"
        )
        refused = self.refused + self.turned_down
        more = {"posted": self.posted, "refused": refused, "undelivered": self.outstanding}
        return line + "".join(f", {name} {count}" for name, count in more.items() if count)
