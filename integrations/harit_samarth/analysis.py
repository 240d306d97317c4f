"""Store the readings that clients of Harit Samarth post, and analyse the health of the soil."""

import msgspec

from ingest.json_payloads import MAX_PAYLOAD
from ingest.message import Reading, Rejection
from services import health_index
from services.submissions import BadSubmission, Receipt, Submissions, payloads, read_json
from streams.stream import Stream
from utils import clock, lenient_json
from utils.json_types import JsonObject
from utils.lenient_json import BOM

DEVICE = "device_id"
"""The clients' name for the field of the device id, which the stream may call otherwise."""

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Wrapped(msgspec.Struct):
    """The only field of the body that is decoded; the others take no memory."""

    readings: msgspec.Raw = msgspec.Raw()


_WRAPPED = msgspec.json.Decoder(_Wrapped)


class SoilHealth:
    """Stores readings of one stream and analyses them."""

    def __init__(self, stream: Stream, submissions: Submissions) -> None:
        self._stream = stream
        self._submissions = submissions

    def analyse(self, body: bytes) -> JsonObject:
        """Store one reading; return its analysis, or why it was rejected.

        Raises BadSubmission, Unavailable.
        """
        if _bare(body).startswith(b"["):
            advice = "POST arrays to /api/soil-health/batch-analyze"
            raise BadSubmission(f"expected one reading, not an array; {advice}")
        receipt = self._submissions.store(
            self._stream, [_payload(self._stream, given) for given in payloads(body)]
        )
        (answer,) = self._answers(receipt)
        return answer | {"stored": receipt.stored == 1} if answer["success"] else answer

    def analyse_all(self, body: bytes) -> JsonObject:
        """Store an array of readings; return counts, and each answer of `analyse`.

        Raises BadSubmission, Unavailable.
        """
        given = [_payload(self._stream, payload) for payload in payloads(_array(body))]
        receipt = self._submissions.store(self._stream, given)
        counts = {
            "stored": receipt.stored,
            "duplicate": receipt.duplicate,
            "rejected": len(receipt.rejections),
        }
        results = [{"index": index} | answer for index, answer in enumerate(self._answers(receipt))]
        return {"success": True, "count": len(results), **counts, "results": results}

    def _answers(self, receipt: Receipt) -> list[JsonObject]:
        rejections = dict(receipt.rejections)
        return [
            _rejected(rejections[index]) if reading is None else self._analysed(reading)
            for index, reading in enumerate(receipt.readings)
        ]

    def _analysed(self, reading: Reading) -> JsonObject:
        pairs = zip(self._stream.metrics, reading.values, strict=True)
        numbers = {metric.name: value for metric, value in pairs if not isinstance(value, str)}
        analysis = health_index.analyse(self._stream, numbers)
        origin = {"device_id": reading.device_id, "timestamp": clock.rfc3339(reading.timestamp)}
        return {"success": True, **health_index.as_json(analysis), **origin}


def _rejected(rejection: Rejection) -> JsonObject:
    return {"success": False, "reason": rejection.reason, "message": rejection.text}


def _bare(body: bytes) -> bytes:
    return body.removeprefix(BOM).strip()


def _array(body: bytes) -> bytes:
    """Return the array of a body, which is one, or an object with one under `readings`.

    Raises BadSubmission.
    """
    text = _bare(body)
    if text.startswith(b"{"):
        text = bytes(read_json(text, _WRAPPED.decode).readings)
    if not text.startswith(b"["):
        raise BadSubmission('expected an array of readings, or {"readings": [...]}')
    return text


def _payload(stream: Stream, given: bytes) -> bytes:
    """Return the payload that a device would publish: nested values and the stream's field names.

    A payload in that form, or in no valid form, stays the same byte for byte, so that a reading
    that also came by MQTT is recognised.
    """
    if len(given) > MAX_PAYLOAD:
        return given  # the parser reports the error
    try:
        fields = lenient_json.decoded(given, _OBJECT.decode)
    except (msgspec.DecodeError, RecursionError):
        return given  # as above
    renamed = DEVICE in fields and stream.device not in fields
    nested = not stream.values or stream.values in fields
    if renamed:
        fields[stream.device] = fields.pop(DEVICE)
    if nested:
        return msgspec.json.encode(fields) if renamed else given
    about = {
        name: fields.pop(name) for name in (stream.device, stream.timestamp.name) if name in fields
    }
    return msgspec.json.encode(about | {stream.values: fields})
