"""Who sent a message that could not be read as a reading."""

from typing import Any

import msgspec

from ingest.decoding import MAX_PAYLOAD, UNSET
from ingest.identity import device_id_fault
from models import MAX_DEVICE_ID
from streams.stream import Stream
from utils import lenient_json
from utils.lenient_json import BOM


class SenderFinder:
    """Tells the device of a stream's rejected messages."""

    def __init__(self, stream: Stream) -> None:
        self._default = stream.device_default
        kind: Any = msgspec.defstruct(
            "Named",
            [("device", str | int | None | msgspec.UnsetType, UNSET)],
            rename={"device": stream.device},
            gc=False,
        )
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)

    def of(self, from_topic: str | None, payload: bytes) -> str | None:
        """The device that the topic names, or else the payload as far as it can be read; None for an unfit name."""
        name = from_topic if from_topic is not None else self._stated(payload)
        # A long one is no id: it need not be looked at, nor be remembered by the check.
        fit = name is not None and len(name) <= MAX_DEVICE_ID and device_id_fault(name) is None
        return name if fit else None

    def _stated(self, payload: bytes) -> str | None:
        if len(payload) > MAX_PAYLOAD:
            return None
        try:
            stated: Any = lenient_json.decoded(payload.removeprefix(BOM), self._decoder.decode).device
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return self._default if stated is UNSET or stated is None else str(stated)
