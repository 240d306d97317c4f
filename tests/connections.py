"""TCP connections as the kernel sees them."""

from pathlib import Path

ESTABLISHED = "01"


def established(port: int) -> int:
    """How many connections to a server on this port are open at its end."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(fields[1].endswith(f":{port:04X}") and fields[3] == ESTABLISHED for fields in lines)
