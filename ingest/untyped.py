"""Untyped reading: payloads whose fields are found by paths, and those with several readings."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ingest.fields import UNSET, FieldReader, Fields, MetricReader, NotConcerned
from ingest.formats.decoder import document_decoder
from ingest.json_payloads import begins_array, checked, decode_reading
from ingest.members import Member, MemberFinder, elements_of, is_list_of_objects
from ingest.showing import Bare, few_shown
from ingest.unpacking import MAX_UNPACKED, unpacked
from ingest.values import PayloadError, ValueFault, detached, first_error
from models import NO_VALUES
from streams.metric import Metric, Value
from streams.stream import Stream

# A text as JSON, or the beginning of an object with a field, which may be broken.
_JSON = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"\Z|\{\s*(?:"|\}\Z)')


class ReadMember(msgspec.Struct, gc=False):
    """A member of a payload with several readings, and what was read of it."""

    member: Member
    fields: Fields | PayloadError | NotConcerned


Found = Fields | list[ReadMember]
"""The fields of a payload, or those of each of its members."""


class UntypedReader:
    """Reads the payloads of a stream without a typed decoder."""

    def __init__(self, stream: Stream) -> None:
        self._fields = FieldReader(stream)
        self._members = MemberFinder(stream)
        self._decode = document_decoder(stream.shape)

    def read(self, payload: bytes) -> Found:
        """Read a payload. Raises PayloadError, NotConcerned."""
        return self.read_document(self._decode(payload))

    def read_document(self, document: Any) -> Found:
        """Read a decoded payload. Raises PayloadError, NotConcerned."""
        if type(document) is dict and not self._members.explodes:
            return self._fields.read(document, document)
        members = self._members.members(document)
        if len(members) > 1 or members[0].place:
            with few_shown():
                return [ReadMember(one, tried(self._one, one)) for one in members]
        return self._one(members[0])

    def _one(self, member: Member) -> Fields:
        if isinstance(member.content, Exception):
            raise member.content
        fields = self._fields.read(member.content, member.top)
        if member.time is not UNSET:
            fields.timestamp = member.time
        if member.unread:
            nameless = [ValueFault.of("", "", error) for error in member.unread]
            fields.faults = (*fields.faults, *nameless)
        return fields


class LevelReader:
    """Reads payloads on the topic of one metric, or of several that share a topic."""

    def __init__(self, stream: Stream, metrics: Sequence[Metric]) -> None:
        self._fields = FieldReader(stream)
        self._unpack = stream.shape.unpack
        readers = [MetricReader(stream, metric) for metric in metrics]
        self._readers = [
            (reader, reader.metric.type == "text" and not reader.has_index) for reader in readers
        ]
        self._indexes = [stream.metrics.index(metric) for metric in metrics]
        self._empty: list[Value | None] = [None] * len(stream.metrics)
        self._needs_value = any(not metric.path for metric in metrics)
        self._takes_list = any(
            metric.item is not None or metric.path or metric.type == "text" for metric in metrics
        )

    def read(self, payload: bytes) -> Found:
        """Read the values. Raises PayloadError, NotConcerned."""
        content = unpacked(payload, self._unpack)
        if begins_array(content) and not self._takes_list:
            document = decode_reading(content, MAX_UNPACKED)
            if is_list_of_objects(document):
                members = elements_of(document)
                with few_shown():
                    return [ReadMember(one, tried(self._member, one)) for one in members]
        content = checked(content)
        return self._one(lambda is_text: _json_of(content, is_text=is_text))

    def _member(self, member: Member) -> Fields:
        return self._one(lambda _: member.content)

    def _one(self, decoded_for: Callable[[bool], Any]) -> Fields:
        values, faults = list(self._empty), list[ValueFault]()
        fields: Any = None
        for index, (reader, is_text) in zip(self._indexes, self._readers, strict=True):
            decoded = decoded_for(is_text)
            if isinstance(decoded, dict):
                fields = decoded
                self._fields.check_only(fields, fields)
            values[index] = self._value(reader, decoded, faults)
        if all(value is None for value in values):
            raise first_error(faults) or self._nothing(fields)
        device = self._fields.device_of(fields, fields)
        time = self._fields.time_of(fields, fields)
        return Fields(device, time, tuple(values), tuple(faults))

    @staticmethod
    def _value(reader: MetricReader, decoded: Any, faults: list[ValueFault]) -> Value | None:
        if reader.has_index and isinstance(decoded, list):
            return reader.read(decoded, decoded, faults)
        if not isinstance(decoded, dict):
            return reader.convert(decoded, "value", faults)
        if reader.metric.path:
            return reader.read(decoded, decoded, faults)
        if "value" not in decoded:
            return None
        return reader.convert(decoded["value"], "value", faults)

    def _nothing(self, fields: Any) -> Exception:
        """Return the error of a payload without a value, or that it is ignored."""
        if isinstance(fields, dict) and self._needs_value and "value" not in fields:
            return PayloadError("missing_field", "value: missing")
        return NotConcerned(NO_VALUES)


def tried(read: Callable[[Member], Fields], member: Member) -> Fields | PayloadError | NotConcerned:
    """Return what is read of a member, or the error."""
    try:
        fields = read(member)
    except (PayloadError, NotConcerned) as error:
        return detached(error)
    return fields.within(member.place) if fields.faults else fields


def _json_of(content: bytes, *, is_text: bool) -> Any:
    """Return the decoded JSON, or a text if the bytes are the value. Raises PayloadError."""
    stripped = content.strip()
    if is_text:
        is_json = _JSON.match(stripped) is not None
    else:
        is_json = stripped.startswith((b"{", b"[", b'"'))
    return decode_reading(stripped) if is_json else Bare(content.decode())
