"""Statements on `birth_certificates`: what the nodes and devices of Sparkplug said of metrics."""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, Row, bindparam, delete, insert, select

from models import BirthCertificate

_CERTIFICATES = BirthCertificate.metadata.tables["birth_certificates"]
Key = tuple[str, str]
"""An edge node, and one of its devices; an empty text for the node itself."""


def certificates(reader: Connection) -> Sequence[Row[str, str, bytes]]:
    """Return `node`, `device` and `metrics` of every certificate."""
    columns = (_CERTIFICATES.c.node, _CERTIFICATES.c.device, _CERTIFICATES.c.metrics)
    return reader.execute(select(*columns)).all()


def replace(
    connection: Connection, nodes: Iterable[str], written: Mapping[Key, bytes | None]
) -> None:
    """Delete all certificates of some nodes, and write others; None deletes one."""
    of_node = _CERTIFICATES.c.node == bindparam("of_node")
    if ended := [{"of_node": node} for node in sorted(nodes)]:
        connection.execute(delete(_CERTIFICATES).where(of_node), ended)
    ordered = sorted(written.items())
    keys = [{"of_node": node, "of_device": device} for (node, device), _ in ordered]
    own = of_node & (_CERTIFICATES.c.device == bindparam("of_device"))
    connection.execute(delete(_CERTIFICATES).where(own), keys)
    rows = [
        {"node": node, "device": device, "metrics": metrics}
        for (node, device), metrics in ordered
        if metrics is not None
    ]
    if rows:
        connection.execute(insert(_CERTIFICATES), rows)
