"""Who may do what at the broker, for the declared streams: Mosquitto's access list, or commands for its plugin."""

import shlex
from collections.abc import Iterator
from typing import NamedTuple

from streams.registry import Streams
from streams.topics import DEVICE, METRIC, TopicPattern

NOTICES = "autoforge/+/notices"
_HEAD = """\
# Who may do what at the broker: AutoForge logs in as `{user}`, and every device with its device id as its name.
# In mosquitto.conf: acl_file /etc/mosquitto/acl. This is what `flask acl` prints for the streams that are declared.

user {user}
# It writes there for POST /api/mqtt/publish and for `flask verify`."""
_COMMANDS = """\
# Who may do what at the broker, for Mosquitto's dynamic security plugin. Set these; the last part is for each device.
: "${{CTRL:=mosquitto_ctrl dynsec}}" "${{AUTOFORGE_PASSWORD:?}}" "${{DEVICE:?}}" "${{DEVICE_PASSWORD:?}}"
for kind in publishClientSend publishClientReceive subscribe; do $CTRL setDefaultACLAccess $kind deny; done

$CTRL createRole {user}"""


class Rights(NamedTuple):
    """Topics with `{device_id}` where the device is named."""

    both: list[str]
    """What AutoForge reads and writes."""
    read: list[str]
    write: list[str]
    device_write: list[str]
    device_read: list[str]
    shared_write: list[str]
    """What any device writes, because the topic names none."""
    shared_read: list[str]


def rights(streams: Streams, catch_all: str | None) -> Rights:
    """Who needs what."""
    control, ack, status = streams.device_topics
    own = [stream.topic for stream in streams if stream.topic.has_device]
    shared = [_wide(stream.topic) for stream in streams if not stream.topic.has_device]
    published = [topic for stream in streams for topic in stream.health.topics().values()]
    return Rights(
        [stream.topic.wide() for stream in streams],
        [ack.wide(), status.wide(), *([catch_all] if catch_all else [])],
        [control.wide(), *published],
        [_wide(topic) for topic in (*own, status, ack)],
        [_wide(control)],
        shared,
        published,
    )


def nameless(streams: Streams) -> list[str]:
    """The streams on whose topic any login may speak for any device."""
    return [stream.name for stream in streams if not stream.topic.has_device]


def mosquitto(streams: Streams, user: str, catch_all: str | None = None) -> str:
    """The access list as Mosquitto's acl_file has it."""
    return "\n".join(_access_list(rights(streams, catch_all), nameless(streams), user)) + "\n"


def _access_list(may: Rights, names: list[str], user: str) -> Iterator[str]:
    yield _HEAD.format(user=user)
    yield from (f"topic readwrite {topic}" for topic in may.both)
    yield from (f"topic read {topic}" for topic in may.read)
    yield from (f"topic write {topic}" for topic in may.write)
    yield "# AutoForge's processes tell each other here which rows are new; no data, and nobody else's business."
    yield f"topic readwrite {NOTICES}"
    yield "\n# Mosquitto puts the name of who is logged in for %u."
    yield from (f"pattern write {topic.replace(DEVICE, '%u')}" for topic in may.device_write)
    yield from (f"pattern read {topic.replace(DEVICE, '%u')}" for topic in may.device_read)
    if names:
        yield f"# The topics of {', '.join(names)} name no device: the payload does, and nobody checks who sends it."
        yield '# The declaration that has it checked is in docs/systems.md, "Who speaks for whom".'
    yield from (f"pattern write {topic}" for topic in may.shared_write)
    yield from (f"pattern read {topic}" for topic in may.shared_read)


def dynamic_security(streams: Streams, user: str, catch_all: str | None = None) -> str:
    """The same as shell commands for `mosquitto_ctrl dynsec`; the client id of a device is bound to its login."""
    return "\n".join(_commands(rights(streams, catch_all), nameless(streams), user)) + "\n"


def _commands(may: Rights, names: list[str], user: str) -> Iterator[str]:
    role = shlex.quote(user)
    yield _COMMANDS.format(user=role)
    for topic in (*may.both, NOTICES):
        yield from _write(role, topic)
        yield from _read(role, topic)
    for topic in may.read:
        yield from _read(role, topic)
    for topic in may.write:
        yield from _write(role, topic)
    yield f'$CTRL createClient {role} -p "$AUTOFORGE_PASSWORD"'
    yield f"$CTRL addClientRole {role} {role}"
    yield '\n# For each device; the plugin has no %u, so that each needs a role.\n$CTRL createRole "$DEVICE"'
    if names:
        yield f"# The topics of {', '.join(names)} name no device: any device may speak for any other there."
    for topic in (*may.device_write, *may.shared_write):
        yield from _write('"$DEVICE"', topic)
    for topic in (*may.device_read, *may.shared_read):
        yield from _read('"$DEVICE"', topic)
    yield '$CTRL createClient "$DEVICE" -c "$DEVICE" -p "$DEVICE_PASSWORD"'
    yield '$CTRL addClientRole "$DEVICE" "$DEVICE"'


def _write(role: str, topic: str) -> Iterator[str]:
    yield f"$CTRL addRoleACL {role} publishClientSend {_quoted(topic)} allow"


def _read(role: str, topic: str) -> Iterator[str]:
    yield f"$CTRL addRoleACL {role} subscribePattern {_quoted(topic)} allow"
    yield f"$CTRL addRoleACL {role} publishClientReceive {_quoted(topic)} allow"


def _quoted(topic: str) -> str:
    before, named, after = topic.partition(DEVICE)
    return f'{_plain(before)}"$DEVICE"{_plain(after)}' if named else shlex.quote(topic)


def _plain(text: str) -> str:
    return shlex.quote(text) if text else ""


def _wide(topic: TopicPattern) -> str:
    return "/".join("+" if level == METRIC else level for level in topic.levels)
