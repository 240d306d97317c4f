"""`/api/<stream>/live`: changes as Server-Sent Events as they are committed."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime

from flask import Response, request
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag
from werkzeug.exceptions import ServiceUnavailable

from database import Unavailable
from routes.answers import Error
from routes.arguments import LastEventHeader, LiveQuery
from routes.fields import position
from services.feed import Event, Interest, Mailbox
from services.live import Hub
from services.waiting import HeldRequests
from serving.websockets import stream as stream_answer
from streams.stream import Stream

logger = logging.getLogger(__name__)
KEEP_ALIVE_SECONDS = 15.0
RETRY = "retry: 2000\n\n"
"""Milliseconds after which a browser reconnects."""
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
FULL = "Too many clients are live in this process. Try again later, or use Socket.IO"


def blueprint(stream: Stream, hub: Hub, held: HeldRequests) -> APIBlueprint:
    """Return the endpoint of one stream."""
    api = APIBlueprint(
        f"live-{stream.name}",
        __name__,
        url_prefix=f"/api/{stream.name}",
        abp_tags=[Tag(name=stream.name)],
    )
    events = {
        "description": "Events `reading`, `command`, `presence` and `gap`",
        "content": {"text/event-stream": {}},
    }

    @api.get("/live", responses={200: events, 400: Error, 503: Error})
    def live(query: LiveQuery, header: LastEventHeader) -> Response:
        """Readings, commands and presence as they are committed.

        `since` or Last-Event-ID requests missed events.
        """
        interest = Interest(stream.name, query.device_id)
        since = position(query.since, lambda: hub.changes.newest_id(stream.name))
        mailbox, leave = _joined(hub, held, interest)
        stream_answer(request.environ)
        seen = since if header.last_event_id is None else header.last_event_id
        texts = _texts(hub, mailbox, interest, seen, request.script_root)
        response = Response(texts, mimetype="text/event-stream", headers=HEADERS)
        response.call_on_close(leave)
        return response

    return api


def _joined(hub: Hub, held: HeldRequests, interest: Interest) -> tuple[Mailbox, Callable[[], None]]:
    """Return a mailbox that receives events, and the function that leaves the hub."""
    with ExitStack() as stack:
        if not stack.enter_context(held.slot()):
            raise ServiceUnavailable(FULL)
        mailbox = Mailbox([interest])
        stack.enter_context(hub.joined(mailbox))
        return mailbox, stack.pop_all().close


def _texts(
    hub: Hub, mailbox: Mailbox, interest: Interest, since: int | datetime | None, root: str
) -> Iterator[str]:
    yield RETRY
    try:
        if since is None:
            # An id for a browser that has to reconnect before its first reading.
            yield f"id: {hub.changes.newest_id(interest.stream)}\n\n"
        else:
            yield from (_text(event.below(root)) for event in hub.changes.missed(interest, since))
    except Unavailable as error:
        logger.warning("Closing a live client, so that it reconnects and catches up: %s", error)
        return
    while not mailbox.closed:
        waiting = mailbox.take(KEEP_ALIVE_SECONDS)
        yield "".join(_text(event.below(root)) for event in waiting) or ": nothing new\n\n"


def _text(event: Event) -> str:
    number = "" if event.reading_id is None else f"id: {event.reading_id}\n"
    return f"event: {event.name}\n{number}data: {event.json}\n\n"
