"""Device ids: from the topic, from the payload, or joined from parts of both; pure."""

from collections.abc import Mapping
from typing import Any

from ingest.fields import UNSET
from ingest.showing import shown
from ingest.values import PayloadError
from streams.paths import MISSING
from streams.stream import Stream
from streams.topics import name_of
from utils.identity import MAX_DEVICE_ID, device_id_fault


class DeviceFinder:
    """Finds the device of a reading."""

    def __init__(self, stream: Stream) -> None:
        self._key = ", ".join(stream.device_parts) or stream.device
        self._default = stream.device_default
        self._parts = () if stream.is_joined_from_topic else stream.device_parts
        self._paths = stream.device_paths

    def of(self, from_topic: str | None, stated: Any, names: Mapping[str, str]) -> str:
        """Return the device id. Raises PayloadError.

        `stated` is from the payload: the id, a list of parts, or UNSET. `names` are the values of
        the topic's placeholders.
        """
        if self._parts and isinstance(stated, list):
            stated = self._joined(stated, names)
        if isinstance(stated, int) and not isinstance(stated, bool):
            stated = str(stated)
        if stated is UNSET or stated is None:
            device = from_topic if from_topic is not None else self._default
            if not device and from_topic is None:
                missing = f"{self._key}: missing, and nothing else names the device"
                raise PayloadError("missing_device", missing)
        elif not isinstance(stated, str):
            raise PayloadError("invalid_device_id", f"{self._key}: not a text: {shown(stated)}")
        elif from_topic is not None and stated != from_topic:
            both = f"{shown(stated)}, but the topic says {shown(from_topic)}"
            raise PayloadError("device_mismatch", f"{self._key}: {both}")
        else:
            device = stated
        if fault := device_id_fault(device):
            raise PayloadError("invalid_device_id", f"{self._key}: {fault}")
        return device

    def _joined(self, found: list[Any], names: Mapping[str, str]) -> Any:
        """Return the parts that are there, joined by `-`; UNSET if none is."""
        values = dict(zip(self._paths, found, strict=True))
        parts: list[str] = []
        for part in self._parts:
            value = values.get(part, names.get(name_of(part), MISSING))
            if value is MISSING or value is None or (value == "" and part in values):
                continue
            if value == "":
                raise PayloadError("invalid_device_id", f"{part}: empty")
            if isinstance(value, bool) or not isinstance(value, str | int):
                text = f"{part}: not a text or a whole number: {shown(value)}"
                raise PayloadError("invalid_device_id", text)
            if isinstance(value, str) and len(value) > MAX_DEVICE_ID:
                text = f"{part}: {len(value)} characters; at most {MAX_DEVICE_ID} are allowed"
                raise PayloadError("invalid_device_id", text)
            parts.append(str(value))
        return "-".join(parts) if parts else UNSET
