"""Messages with several readings: what becomes of the message as a whole; pure."""

from collections import defaultdict
from collections.abc import Sequence

from broker.message import Message
from ingest.message import Ignored, Reading, Rejection, Several, shared_device
from ingest.outcome import Applied, Fate, Outcome


def together(
    message: Message, members: Sequence[Reading | Rejection | Ignored]
) -> Reading | Several | Rejection | Ignored:
    """Return what a message is whose members are these; `text` of each error names its place."""
    readings = [one for one in members if isinstance(one, Reading)]
    rejections = [one for one in members if isinstance(one, Rejection)]
    if not readings:
        ignored = next((one for one in members if isinstance(one, Ignored)), None)
        return set_aside(message, rejections) if ignored is None or rejections else ignored
    if len(members) == 1:
        return readings[0]
    for index, one in enumerate(members):
        if isinstance(one, Reading):
            one.index = index
    return Several(readings, message, rejections)


def set_aside(message: Message, rejections: Sequence[Rejection]) -> Rejection:
    """Return the rejection of a message of which these readings are rejected."""
    first = rejections[0]
    more = len(rejections) - 1
    text = first.text
    if more:
        others = "1 more reading was" if more == 1 else f"{more} more readings were"
        text = f"{text}; {others} rejected"
    count = sum(one.readings for one in rejections)
    return Rejection(first.stream, first.reason, text, message, shared_device(rejections), count)


def settle(outcome: Outcome, several: Sequence[Several], applied: Applied) -> None:
    """Count readings, and the messages that have several of them.

    Such a message is rejected if a reading was, else stored if one was, else a duplicate.
    """
    outcome.readings.stored += applied.stored
    outcome.readings.duplicate += applied.duplicate
    by_message: defaultdict[int, list[Fate]] = defaultdict(list)
    for fate in applied.fates:
        by_message[id(fate.reading.message)].append(fate)
    for one in several:
        _count(outcome, one, by_message[id(one.message)])


def _count(outcome: Outcome, one: Several, fates: Sequence[Fate]) -> None:
    stored = sum(fate.is_stored for fate in fates)
    refused = [fate.rejection for fate in fates if fate.rejection is not None]
    outcome.readings.stored += stored
    outcome.readings.duplicate += len(fates) - stored - len(refused)
    rejections = [*one.rejections, *refused]
    # The broker repeats a retained message, and what was wrong with it was told when it was new.
    if rejections and not one.message.retained:
        outcome.rejections.append(set_aside(one.message, rejections))
    elif stored:
        outcome.stored += 1
    else:
        outcome.duplicate += 1
