"""The Socket.IO client for JavaScript, as a browser or Node runs it, against the live process."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.devices import DeviceClient
from tests.live import Got, Inbox
from tests.processes import kill
from tests.support import BackendProcess, Mosquitto, missing, payload, publishing, wait_for

pytestmark = pytest.mark.process

CLIENT = """
import { io } from "socket.io-client";
const say = (name, data) => console.log(JSON.stringify([name, data ?? null]));
const socket = io(process.argv[2], { reconnectionDelay: 200, reconnectionDelayMax: 500 });
let since;
socket.io.on("open", () => {
  say("open", socket.io.engine.transport.name);
  socket.io.engine.on("upgrade", (transport) => say("upgrade", transport.name));
});
socket.on("connect", () => {
  socket.emit("subscribe", { stream: "sensors", ...(since && { since }) }, (answer) => say("answer", answer));
});
socket.on("disconnect", () => say("disconnect"));
socket.on("reading", (reading) => { since = Math.max(since ?? 0, reading.data.id); });
for (const name of ["reading", "command", "presence", "error"]) socket.on(name, (data) => say(name, data));
process.stdin.resume().on("data", (text) => socket.emit("subscribe", JSON.parse(text)));
process.stdin.on("end", () => { socket.close(); });
"""


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client's program, with the library installed beside it."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        missing("node")
    folder = tmp_path_factory.mktemp("javascript")
    install = [
        str(npm),
        "install",
        "--no-audit",
        "--no-fund",
        "--prefix",
        str(folder),
        "socket.io-client@4",
    ]
    done = subprocess.run(
        install, cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    program = folder / "client.mjs"
    program.write_text(CLIENT)
    return program


class Node(Inbox):
    """The program; what it says besides what is pushed is in `told`."""

    def __init__(self, script: Path, port: int, output: Path) -> None:
        super().__init__()
        self._output = output
        command = ["node", str(script), f"http://127.0.0.1:{port}"]
        with output.open("wb") as written:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=written, stderr=written
            )

    def __enter__(self) -> "Node":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def told(self, name: str) -> list[Any]:
        """What it has said under a name."""
        lines = self._output.read_text().rpartition("\n")[0].splitlines()
        said = [json.loads(line) for line in lines]
        self.events = [Got(*pair) for pair in said]
        return [data for said_name, data in said if said_name == name]

    def await_told(self, name: str, count: int = 1) -> list[Any]:
        """Wait until it has said so much under a name."""
        return wait_for(
            lambda: self.told(name)[count - 1 :] and self.told(name), what=f"{count} of {name}"
        )

    def subscribe(self, **keys: Any) -> None:
        """Have it subscribe, without waiting for an acknowledgement."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(keys).encode())
        self._process.stdin.flush()

    def end(self) -> int:
        """Close its socket; its exit code."""
        self._process.communicate(timeout=10)
        return self._process.returncode


@pytest.fixture
def node(script: Path, live: BackendProcess, tmp_path: Path) -> Iterator[Node]:
    """A client that is subscribed."""
    with Node(script, live.port, tmp_path / "node.txt") as made:
        assert made.await_told("answer") == [
            {"message": "subscribed", "stream": "sensors", "device_id": None}
        ]
        yield made


def publish(broker: Mosquitto, device_id: str, *temperatures: float) -> None:
    with publishing(broker.port) as publish:
        for temperature in temperatures:
            publish(f"sensors/{device_id}/data", payload(temperature=temperature))


def test_it_begins_with_polling_and_goes_on_over_a_websocket(node: Node) -> None:
    assert node.told("open") == ["polling"]
    assert node.await_told("upgrade") == ["websocket"]
    assert node.end() == 0
    assert node.told("disconnect") == [None]


def test_it_receives_readings_commands_and_presence(
    node: Node, live: BackendProcess, broker: Mosquitto
) -> None:
    publish(broker, "board", 21.5)
    (reading,) = node.await_told("reading")
    assert reading["stream"] == "sensors"
    assert (reading["data"]["device_id"], reading["data"]["temperature"]) == ("board", 21.5)
    assert reading["data"] == live.get("/api/sensors/latest?device_id=board")[1]["data"]
    with closing(DeviceClient(broker.port, "control/board/command", answers=("succeeded",))):
        live.post("/api/control", {"device_id": "board", "command": "restart"})
        wait_for(
            lambda: [said["status"] for said in node.told("command")][-1:] == ["succeeded"],
            what="its success",
        )
    with publishing(broker.port) as publish_status:
        publish_status("status/board", "online", retain=True)
    (presence,) = node.await_told("presence")
    assert (presence["device_id"], presence["online"]) == ("board", True)
    assert node.told("error") == []


def test_it_is_told_what_is_wrong_with_a_subscription(node: Node) -> None:
    node.subscribe(stream="nothing")
    (error,) = node.await_told("error")
    assert "there is no stream 'nothing'" in error["message"]


def test_it_comes_back_after_a_restart_and_gets_what_it_missed(
    node: Node, live: BackendProcess, broker: Mosquitto
) -> None:
    publish(broker, "missed", 0)
    node.await_told("reading")
    kill(live)
    node.await_told("disconnect")
    publish(broker, "missed", *range(1, 101))
    live.start()
    node.await_told("answer", 2)
    wait_for(
        lambda: {said["data"]["temperature"] for said in node.told("reading")} >= set(range(101)),
        what="all",
    )
    publish(broker, "missed", 101)
    wait_for(lambda: node.told("reading")[-1]["data"]["temperature"] == 101, what="a new reading")
