"""`make demo` shows readings of every system, with nothing but Python."""

import re
import signal
import sys
from pathlib import Path

from tests.live import serving
from tests.support import Backend, free_port, wait_for


def test_the_demo_has_devices_of_every_system_and_every_address_that_it_prints_answers(tmp_path: Path) -> None:
    environment = {"DATABASE_URL": f"sqlite:///{tmp_path}/demo.db", "MQTT_PORT": str(free_port())}
    demo = Backend(tmp_path, [sys.executable, "-m", "simulators.demo"], **environment)
    with serving(demo):
        wait_for(lambda: "soil-health" in demo.console.read_text())
        addresses = re.findall(rf"http://localhost:{demo.port}(/\S+?)'?$", demo.console.read_text(), re.MULTILINE)
        assert len(addresses) == 11
        for path in addresses:
            if path != "/api/docs":
                assert demo.get(path)[0] == 200, path
        wait_for(
            lambda: [devices(demo, stream) for stream in ("sensors", "machines", "panels", "soil")] == [3, 2, 1, 1]
        )
        wait_for(lambda: demo.get("/api/mqtt/last-values")[1].keys() >= {"power", "energy_cost"})
        assert demo.get("/api/health")[1]["mqtt"]["rejected"] == 0
        assert demo.stop(signal.SIGINT) == 0
        said = demo.console.read_text()
    assert len(re.findall(r"^published (\d+), acknowledged \1, invalid 0$", said, re.MULTILINE)) == 4, said


def devices(demo: Backend, stream: str) -> int:
    """How many have sent something."""
    count: int = demo.get(f"/api/{stream}/devices")[1]["count"]
    return count
