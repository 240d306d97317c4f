"""Continue from the last stored readings, for streams that declare it."""

from collections.abc import Callable

from simulators.backend import Away, BackendClient
from simulators.device import SimulatedDevice
from streams.stream import Stream


def resume(
    stream: Stream,
    devices: list[SimulatedDevice],
    backend: BackendClient,
    note: Callable[[str], None],
) -> None:
    """Start each device with its last stored values, if the backend has any."""
    new = []
    for device in devices:
        try:
            reading = backend.latest(stream.name, device.device_id)
        except Away as error:
            note(
                f"cannot read the last readings from the backend at {backend.url} ({error}): "
                "starting without them"
            )
            return
        if reading is None:
            new.append(device.device_id)
        else:
            device.go_on_from(reading)
    if new:
        shown = new[0] if len(new) == 1 else f"{len(new)} devices"
        note(f"no stored reading of {shown} to continue from")
