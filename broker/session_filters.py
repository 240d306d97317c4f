"""The filters of a session: subscribes to the wanted ones, then unsubscribes from the others."""

import math
import time
from collections.abc import Callable, Iterable
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.reasoncodes import ReasonCode

from broker.message import Filters
from broker.subscriptions import Subscriptions

UNSUBACK_SECONDS = 10.0


class SessionFilters:
    """Changes the filters of a persistent session to the wanted ones.

    Calls `on_settled` each time that the session has the wanted filters and no others.
    """

    def __init__(self, filters: Filters, on_settled: Callable[[], None], *, version5: bool) -> None:
        self.wanted = filters.wanted
        self.subscriptions = Subscriptions(filters.wanted or filters.known, version5=version5)
        self.settled = True
        """Whether no request is pending; until then messages wait, as long as there is room."""
        self._unwanted = filters.unwanted
        self._on_settled = on_settled
        self._settled_by = math.inf
        self._new_session = False

    def connected(self, *, session_present: bool) -> None:
        """Start over for a new connection."""
        self.settled = False
        self._settled_by = math.inf
        self._new_session = not session_present

    def request(self, client: paho.Client, connack: Any) -> None:
        """Subscribe; `connack` are the properties of the broker's answer to CONNECT."""
        if self.wanted:
            self.subscriptions.request(client, connack)
        else:
            self._unsubscribe(client)

    def granted(self, client: paho.Client, mid: int, codes: Iterable[ReasonCode]) -> list[str]:
        """Record an answer; after the last one, return the filters that the broker denied."""
        if not self.subscriptions.answered(mid, codes):
            return []
        if self.subscriptions.denied:
            self.settled = True
        else:
            # Only now: messages that a wanted filter shares with an unwanted one must not be lost.
            self._unsubscribe(client)
        return self.subscriptions.denied

    def settle(self) -> None:
        """Record that the broker has removed the unwanted filters."""
        self.settled = True
        self._on_settled()

    def settle_if_overdue(self) -> None:
        """Stop waiting: rumqttd does not answer for a filter that it does not know."""
        if not self.settled and time.monotonic() > self._settled_by:
            self.settle()

    def connection_lost(self) -> None:
        """Let the received messages be handed over; the next connection starts over."""
        self.settled = True

    def _unsubscribe(self, client: paho.Client) -> None:
        if self._new_session or not self._unwanted:
            self.settle()
            return
        self._settled_by = time.monotonic() + UNSUBACK_SECONDS
        client.unsubscribe(list(self._unwanted))
