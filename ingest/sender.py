"""The sender of a message that was rejected."""

from typing import Any

import msgspec

from ingest.decoding import NO_FIELD
from ingest.fields import UNSET, FieldReader
from ingest.formats.decoder import document_decoder
from ingest.json_payloads import MAX_PAYLOAD
from ingest.members import Member
from ingest.values import PayloadError
from streams.paths import Path
from streams.stream import Stream
from utils import lenient_json
from utils.identity import MAX_DEVICE_ID, device_id_fault
from utils.lenient_json import BOM


class SenderFinder:
    """Finds the device that sent a rejected message of a stream."""

    def __init__(self, stream: Stream) -> None:
        self._default = stream.device_default
        self._fields = FieldReader(stream)
        self._is_flat = not stream.device or Path.of(stream.device).keys == (stream.device,)
        kind: Any = msgspec.defstruct(
            "Named",
            [("device", str | int | None | msgspec.UnsetType, UNSET)],
            rename={"device": stream.device or NO_FIELD},
            gc=False,
        )
        self._is_json = stream.shape.format == "json"
        self._document = document_decoder(stream.shape)
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)

    def of(self, from_topic: str | None, payload: bytes) -> str | None:
        """Return the device id in the topic or else in the payload; None if it is not valid."""
        name = from_topic if from_topic is not None else self._stated(payload)
        return self._valid(name)

    def of_member(self, from_topic: str | None, member: Member) -> str | None:
        """Return the same for one of several readings in a message."""
        if from_topic is not None:
            return self._valid(from_topic)
        stated = self._fields.device_of(member.content, member.top)
        return self._valid(self._named(stated))

    @staticmethod
    def _valid(name: str | None) -> str | None:
        # Checked here so that the cache of the other check holds no long names.
        if name is None or len(name) > MAX_DEVICE_ID:
            return None
        return name if device_id_fault(name) is None else None

    def _stated(self, payload: bytes) -> str | None:
        if len(payload) > MAX_PAYLOAD:
            return None
        if not self._is_json:
            return self._in_document(payload)
        decode = self._decoder.decode if self._is_flat else msgspec.json.decode
        try:
            decoded: Any = lenient_json.decoded(payload.removeprefix(BOM), decode)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        stated = decoded.device if self._is_flat else self._fields.device_of(decoded, decoded)
        return self._named(stated)

    def _named(self, stated: Any) -> str | None:
        """Return the id that a payload states, or the stream's; None for what is no id."""
        if stated is UNSET or stated is None:
            return self._default
        return str(stated) if isinstance(stated, str | int) else None

    def _in_document(self, payload: bytes) -> str | None:
        try:
            document = self._document(payload)
        except PayloadError:
            return None
        stated = self._fields.device_of(document, document)
        # As of a JSON payload, the parts of an id are not joined.
        return str(stated) if isinstance(stated, str | int) else self._default
