"""Stream declarations: what a file may declare, the errors of others, and the stream of a topic."""

import re
from pathlib import Path
from typing import Any

import pytest

import queries.readings
from broker.message import Message
from config import PROJECT, Settings
from ingest.acknowledgements import Acknowledgement
from ingest.message import Reading
from ingest.payload import Parser
from ingest.presence import PresenceNotice
from models import Base
from streams.checks import StreamError
from streams.declaration import declared, load
from streams.matching import TopicMatch
from streams.metric import Simulation
from streams.own_topics import DeviceTopics
from streams.registry import Streams
from streams.reserved import RESERVED_COLUMNS, RESERVED_NAMES
from streams.stream import Stream
from tests.declarations import METRIC, TOPIC, Declare
from tests.parsing import RECEIVED
from tests.support import DEVICE_TOPICS
from wiring.pipelines import DeviceKinds

WHOLE = "topic: expected {device_id}, {metric}, another {name}, {name...}, + or # as a whole level, not "
METRIC_TOPIC = 'topic = "a/{device_id}/{metric}"\n'
LIST = "which ml-data already uses"


def fault(folder: Path, name: str = "x") -> str:
    """What is said about a stream file, without the folder; the parser must not be the first to notice it."""
    with pytest.raises(StreamError) as caught:
        Parser(load(folder, {}, DEVICE_TOPICS))
    message = str(caught.value).removeprefix(f"{folder}/")
    assert message.startswith(f"{name}.toml: ")
    return message.removeprefix(f"{name}.toml: ")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(METRIC, "Object missing required field `topic`", id="no topic"),
        pytest.param(
            TOPIC,
            'metrics: expected at least one metric, such as [metrics.temperature], or rest = "keep"',
            id="no metrics",
        ),
        pytest.param(
            f"{TOPIC}[metrics]",
            'metrics: expected at least one metric, such as [metrics.temperature], or rest = "keep"',
            id="no metric",
        ),
        pytest.param(
            f"{TOPIC}rate = 1\n{METRIC}",
            "Object contains unknown field `rate`",
            id="an unknown key",
        ),
        pytest.param(
            f"topic = 5\n{METRIC}",
            "topic: Expected `str | array`, got `int`",
            id="a topic that is no text",
        ),
        pytest.param(
            f"{TOPIC}[timestamp]\nname = 1\n{METRIC}",
            "timestamp: Object contains unknown field `name`",
            id="an unknown key of timestamp",
        ),
        pytest.param(
            f'{TOPIC}[timestamp]\nrequired = "no"\n{METRIC}',
            "timestamp.required: Expected `bool`, got `str`",
            id="a required that is no bool",
        ),
        pytest.param(
            "topic = 'a", 'Expected "\'" (at end of document)', id="a text without its end"
        ),
        pytest.param(
            f"{TOPIC}{TOPIC}",
            "Cannot overwrite a value (at line 2, column 24)",
            id="the same key twice",
        ),
        pytest.param(
            f"{TOPIC}{METRIC}{METRIC}",
            "Cannot declare ('metrics', 't') twice (at line 3, column 11)",
            id="tables twice",
        ),
        pytest.param(
            f'topic = "a/x+"\n{METRIC}',
            f"{WHOLE}'x+'",
            id="a wildcard",
        ),
        pytest.param(
            f'topic = "a/#/b"\ndevice = "d"\n{METRIC}',
            "topic: expected # as the last level",
            id="the wildcard for several levels",
        ),
        pytest.param(
            f'topic = "a/x{{device_id}}"\n{METRIC}',
            f"{WHOLE}'x{{device_id}}'",
            id="half a level",
        ),
        pytest.param(
            f'topic = "a/{{Machine}}"\n{METRIC}',
            f"{WHOLE}'{{Machine}}'",
            id="an unknown name in braces",
        ),
        pytest.param(
            f'topic = "a//b"\n{METRIC}',
            "topic: expected no empty level behind the first one",
            id="an empty level",
        ),
        pytest.param(
            f'topic = ""\n{METRIC}',
            "topic: expected a topic such as sensors/{device_id}/data",
            id="an empty topic",
        ),
        pytest.param(
            f'topic = "$share/g/{{device_id}}"\n{METRIC}',
            "topic: expected a topic without $share and the group",
            id="a shared subscription",
        ),
        pytest.param(
            f'topic = "{{device_id}}/{{device_id}}"\n{METRIC}',
            "topic: expected {device_id} at most once",
            id="twice",
        ),
        pytest.param(
            f'topic = "a"\n{METRIC}',
            "device: expected the payload's field with the device id, or {device_id} in topic",
            id="no device anywhere",
        ),
        pytest.param(
            f'{TOPIC}device = "t"\n{METRIC}',
            "device: expected a field that is not a metric",
            id="a metric as device",
        ),
        pytest.param(
            f'{TOPIC}[timestamp]\nfield = "t"\n{METRIC}',
            "timestamp.field: expected a field that is not a metric",
            id="a metric as timestamp",
        ),
        pytest.param(
            f'{METRIC_TOPIC}values = "v"\n{METRIC}',
            "values: expected nothing, because each metric has its own topic",
            id="nested values where each metric has a topic",
        ),
        pytest.param(
            f'{TOPIC}table = "Readings"\n{METRIC}',
            "table: expected a letter of a-z, then a-z, 0-9 and _",
            id="capitals",
        ),
        pytest.param(
            f'{TOPIC}table = "ingest_status"\n{METRIC}',
            "table: expected a name other than ingest_status, which AutoForge uses",
            id="a table of AutoForge",
        ),
    ],
)
def test_a_fault_is_told_with_file_key_and_what_was_expected(
    text: str, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "x.toml").write_text(text)
    assert fault(tmp_path) == sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(
            "rate = 1", "metrics.t: Object contains unknown field `rate`", id="an unknown key"
        ),
        pytest.param(
            "unit = 5", "metrics.t.unit: Expected `str`, got `int`", id="a unit that is no text"
        ),
        pytest.param(
            'required = "yes"', "metrics.t.required: Expected `bool`, got `str`", id="no bool"
        ),
        pytest.param(
            'simulate = { mean = "x" }',
            "metrics.t.simulate.mean: Expected `float`, got `str`",
            id="a mean that is none",
        ),
        pytest.param(
            "simulate = { rate = 1 }",
            "metrics.t.simulate: Object contains unknown field `rate`",
            id="an unknown key of simulate",
        ),
        pytest.param(
            'name = "x"',
            "metrics.t.name: expected nothing: the table's heading is the name",
            id="a name",
        ),
        pytest.param(
            'type = "text"\nsimulate = { states = [] }',
            "metrics.t.simulate.states: expected at least one state",
            id="a text without states",
        ),
        pytest.param(
            'plural = "timestamps"',
            f"metrics.t.plural: expected a name other than timestamps, {LIST} for AutoForge",
            id="plural timestamps",
        ),
        pytest.param(
            "[metrics.device_ids]",
            f"metrics.device_ids.plural: expected a name other than device_ids, {LIST} for AutoForge",
            id="a metric named device_ids",
        ),
        pytest.param(
            'plural = "u"\n[metrics.u]',
            f"metrics.u.plural: expected a name other than u, {LIST} for t",
            id="the same plural twice",
        ),
        pytest.param(
            "[metrics.T]",
            "metrics.T: expected a name that differs from t in more than case",
            id="names alike",
        ),
        pytest.param(
            '[metrics."a b"]',
            "metrics.a b: expected a letter of a-z or A-Z, then such letters, digits and _",
            id="a name with a space",
        ),
        pytest.param(
            f"[metrics.{'m' * 52}]",
            f"metrics.{'m' * 52}: expected at most 51 characters; it has 52",
            id="a name that is too long",
        ),
        pytest.param(
            'event = "1st"',
            "metrics.t.event: expected a letter of a-z, then a-z, 0-9, - and _",
            id="an event's name",
        ),
    ],
)
def test_a_fault_of_a_metric_is_told_with_the_metrics_name(
    text: str, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "x.toml").write_text(f"{TOPIC}{METRIC}{text}\n")
    assert fault(tmp_path) == sentence


@pytest.mark.parametrize(
    "name", sorted(RESERVED_COLUMNS | {"Timestamp", "XMIN", "DB_ROW_ID", "Fts_Doc_Id"})
)
def test_a_metric_whose_name_a_database_or_an_answer_has_is_a_fault(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "x.toml").write_text(f"{TOPIC}[metrics.{name}]\n")
    told = fault(tmp_path)
    assert told.startswith(f"metrics.{name}: expected a name other than {name}; ")
    assert told.endswith("an existing column stays as it is")


def test_names_that_a_query_adds_to_a_reading_are_reserved() -> None:
    assert set(queries.readings.LEFT_OUT) <= RESERVED_COLUMNS


@pytest.mark.parametrize(
    ("stream", "metric"),
    [
        ("x", "health"),
        ("soil", "health"),
        ("soil", "status"),
        ("soil", "health_index"),
        ("soil", "anomalies"),
    ],
)
def test_a_metric_with_the_name_of_what_answers_add_is_a_fault_where_they_do(
    stream: str, metric: str, tmp_path: Path
) -> None:
    file = tmp_path / f"{stream}.toml"
    file.write_text(f"{TOPIC}[metrics.{metric}]\n[metrics.t]\nideal = [1, 2]\n")
    assert fault(tmp_path, stream).startswith(
        f"metrics.{metric}: expected a name other than {metric}, a key"
    )
    file.write_text(f"{TOPIC}[metrics.{metric}]\n[metrics.t]\n")
    assert load(tmp_path, {}, DEVICE_TOPICS).unusable == {}


def test_a_device_field_with_the_name_of_what_analyses_have_is_a_fault_where_they_are_published(
    tmp_path: Path,
) -> None:
    factor = '[health]\nanalysis_topic = "x/y"\n[metrics.t]\nideal = [1, 2]\n'
    (tmp_path / "x.toml").write_text(f'{TOPIC}device = "id"\n{factor}')
    assert fault(tmp_path).startswith(
        "device: expected a field other than anomalies, factors, health_index, id,"
    )


def test_an_unknown_type_is_told_the_types_there_are(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(f'{TOPIC}{METRIC}type = "float"\n')
    message = fault(tmp_path)
    assert message.startswith("metrics.t.type: ")
    assert "Expected number or text or boolean or integer, got" in message


@pytest.mark.parametrize("level", ["+", "#", "x//y", "/x", ""])
def test_a_level_that_cannot_stand_in_a_topic_is_a_fault(level: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(f'{METRIC_TOPIC}{METRIC}level = "{level}"\n')
    if level:
        assert "level" in fault(tmp_path)
    else:
        # An empty text is as good as none: the metric's name.
        assert load(tmp_path, {}, DEVICE_TOPICS).subscriptions()[:1] == ["a/+/t"]


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param('device = "timestamp"', id="device and timestamp"),
        pytest.param('values = "timestamp"', id="values and timestamp"),
        pytest.param('values = "device_id"', id="values and device"),
    ],
)
def test_one_field_of_the_payload_cannot_be_two_things(keys: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(f"{TOPIC}{keys}\n{METRIC}")
    assert fault(tmp_path).split()[0].rstrip(":") in ("device", "values", "timestamp.field")


def test_text_that_is_not_utf_8_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b'title = "\xff"\n')
    assert fault(tmp_path) == "line 1: byte 0xff is not UTF-8; it must be UTF-8"


@pytest.mark.parametrize("name", ["Sensors", "a b", "1st"])
def test_a_file_whose_name_is_no_stream_name_is_a_fault(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.toml").write_text(TOPIC + METRIC)
    assert fault(tmp_path, name).startswith(
        "the file's name: expected a letter of a-z, then a-z, 0-9, - and _: it is"
    )


def test_the_name_of_a_file_that_is_too_long_is_told_so(tmp_path: Path) -> None:
    (tmp_path / f"{'a' * 41}.toml").write_text(TOPIC + METRIC)
    assert fault(tmp_path, "a" * 41) == "the file's name: expected at most 40 characters; it has 41"


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_a_name_that_the_api_needs_is_a_fault_that_tells_how_to_rename(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / f"{name}.toml").write_text(TOPIC + METRIC)
    table = f"{name.replace('-', '_')}_readings"
    told = fault(tmp_path, name)
    assert told.startswith(
        f"the file's name: expected a name other than {name}, which AutoForge uses: rename"
    )
    assert f'set table = "{table}"' in told
    (tmp_path / f"{name}.toml").rename(tmp_path / "x.toml").write_text(
        f'table = "{table}"\n{TOPIC}{METRIC}'
    )
    assert load(tmp_path, {}, DEVICE_TOPICS)["x"].table == table


@pytest.mark.parametrize(
    "table", sorted({*Base.metadata.tables, "alembic_version", "device_accounts", "users"})
)
def test_a_table_that_autoforge_has_itself_is_a_fault(table: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(f'table = "{table}"\n{TOPIC}{METRIC}')
    assert fault(tmp_path) == f"table: expected a name other than {table}, which AutoForge uses"


@pytest.mark.parametrize(
    "table", ["pg_class", "sqlite_x", "incoming_x_readings", "uq_x_readings", "ix_x_readings"]
)
def test_a_table_with_a_name_that_databases_give_themselves_is_a_fault(
    table: str, tmp_path: Path
) -> None:
    (tmp_path / "x.toml").write_text(f'table = "{table}"\n{TOPIC}{METRIC}')
    assert fault(tmp_path).startswith("table: expected a name that does not begin with any of")


def test_two_streams_cannot_have_one_table(declare: Declare) -> None:
    streams = declare(**{"a-b": TOPIC + METRIC, "a_b": TOPIC.replace("a/", "b/") + METRIC})
    assert streams.unusable == {
        "a_b": "a_b.toml: table: expected a table other than a_b_readings, which a-b.toml uses"
    }


@pytest.mark.parametrize(
    ("one", "other", "metric"),
    [
        pytest.param("a/{device_id}", "a/{device_id}", "t", id="the same"),
        pytest.param(
            "a/{device_id}/{metric}", "a/{device_id}/t", "t", id="a metric and a plain level"
        ),
        pytest.param(
            "{device_id}/b/{metric}", "{x}/b/{metric}", "t", id="equally many plain levels"
        ),
    ],
)
def test_two_streams_cannot_receive_one_topic(
    one: str, other: str, metric: str, declare: Declare
) -> None:
    streams = declare(
        one=f'topic = "{one}"\n[metrics.{metric}]\n',
        other=f'topic = "{other}"\ndevice = "d"\n[metrics.{metric}]\n',
    )
    assert [stream.name for stream in streams] == ["one"]
    told = f"other.toml: topic: overlaps with one.toml: topic ({one})"
    assert streams.unusable == {"other": told}


@pytest.mark.parametrize(
    ("topics", "text", "sentence"),
    [
        (
            {},
            'topic = "control/{device_id}/ack"',
            "x.toml: topic: overlaps with ACK_TOPIC (control/{device_id}/ack)",
        ),
        (
            {},
            'topic = "status/{device_id}"',
            "x.toml: topic: overlaps with STATUS_TOPIC (status/{device_id})",
        ),
        (
            {},
            'topic = "status/{metric}"\ndevice = "d"',
            "x.toml: topic: overlaps with STATUS_TOPIC (status/",
        ),
        (
            {"ack_topic": "control/+/command"},
            "",
            "ACK_TOPIC=control/{device_id}/command: overlaps with CONTROL_TOPIC (control/{device_id}/command)",
        ),
        (
            {"control_topic": "status/+"},
            "",
            "CONTROL_TOPIC=status/{device_id}: overlaps with STATUS_TOPIC (status/",
        ),
        ({}, 'topic = "{device_id}/x/command"', "x.toml: topic: overlaps with CONTROL_TOPIC ("),
        (
            {"status_topic": "control/x/y/+", "control_topic": "control/+/y/z"},
            "",
            "STATUS_TOPIC=control/x/y/{device_id}: overlaps with CONTROL_TOPIC (control/{device_id}/y/z)",
        ),
        (
            {"status_topic": "+/command", "control_topic": "x/+"},
            "",
            "STATUS_TOPIC={device_id}/command: overlaps with CONTROL_TOPIC (x/{device_id})",
        ),
    ],
)
def test_what_devices_say_and_hear_beside_their_readings_needs_topics_of_its_own(
    topics: dict[str, Any], text: str, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "x.toml").write_text(f"{text or TOPIC}\n{METRIC}")
    with pytest.raises(StreamError) as caught:
        load(tmp_path, {}, DeviceTopics.of(Settings(_env_file=None, **topics)))
    assert str(caught.value).startswith(sentence)
    assert re.search(r": overlaps with \S+ \([^()]+\)$", str(caught.value))


UNSENDABLE = {
    "a\\u0000": "it has the invisible character U+0000",
    "a\\u0001": "it has the invisible character U+0001",
    "a\\uFFFF": "it has the invisible character U+FFFF",
    "a\\u200b": "it has the invisible character U+200B",
    "a" * 1_100: "it has 1,1",
    "/".join("a" * 201): "it has 20",
}


@pytest.mark.parametrize("text", UNSENDABLE)
@pytest.mark.parametrize(
    ("key", "declaration"),
    [
        ("topic", 'topic = "{}/{{device_id}}"\n[metrics.t]'),
        (
            "health.status_topic",
            'topic = "a/{{device_id}}"\n[health]\nstatus_topic = "{}"\n[metrics.t]',
        ),
    ],
)
def test_a_topic_that_no_broker_takes_makes_its_stream_alone_unusable(
    text: str, key: str, declaration: str, declare: Declare
) -> None:
    streams = declare(good=METRIC_TOPIC + METRIC, x=declaration.format(text))
    assert [stream.name for stream in streams] == ["good"]
    told = streams.unusable["x"].partition("x.toml: ")[2]
    assert told.startswith(f"{key}: expected a topic that brokers take: {UNSENDABLE[text]}")
    assert not [one for one in streams.filters if one.startswith("a" * 9) or not one.isprintable()]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("title", 'title = "a\\u001b[31m"\n{}[metrics.t]'),
        ("metrics.t.title", '{}[metrics.t]\ntitle = "a\\u202e"'),
        ("metrics.t.unit", '{}[metrics.t]\nunit = "\\u0000"'),
        ("metrics.t.advice", '{}[metrics.t]\nadvice = {{ low = "a\\u200b" }}'),
        ("metrics.t.level", '{}[metrics.t]\nlevel = "t\\u200b"'),
    ],
)
def test_no_text_of_a_file_has_characters_that_nobody_sees(
    key: str, text: str, tmp_path: Path
) -> None:
    (tmp_path / "x.toml").write_text(text.format(METRIC_TOPIC))
    assert fault(tmp_path).startswith(f"{key}: expected a text without the invisible character U+")


NOTICES = "overlaps with AutoForge's notices (autoforge/{device_id}/notices)"


@pytest.mark.parametrize("setting", ["SENSOR_TOPIC", "CONTROL_TOPIC", "ACK_TOPIC", "STATUS_TOPIC"])
@pytest.mark.parametrize(
    "topic",
    ["autoforge/{device_id}/notices", "autoforge/home/{device_id}", "{device_id}/x/notices"],
)
def test_no_setting_takes_the_topics_on_which_autoforge_speaks_to_itself(
    setting: str, topic: str, tmp_path: Path
) -> None:
    (tmp_path / "sensors.toml").write_text(f"{TOPIC}\n{METRIC}")
    chosen: dict[str, Any] = {setting.lower(): topic}
    with pytest.raises(StreamError) as caught:
        declared(Settings(_env_file=None, streams_dir=tmp_path, **chosen))
    assert str(caught.value) == f"{setting}={topic}: {NOTICES}"


@pytest.mark.parametrize(
    ("topic", "told"),
    [
        ("autoforge/{device_id}/notices", NOTICES),
        ("autoforge/home/{device_id}", NOTICES),
        ("{device_id}/{metric}/notices", NOTICES),
        ("{device_id}/{metric}", ""),
        ("autoforge/home/{device_id}/data", ""),
        ("said/{device_id}", "overlaps with state.toml: health.status_topic (said/state)"),
        ("{device_id}/state", "overlaps with state.toml: health.status_topic (said/state)"),
        ("control/pump/command", "overlaps with CONTROL_TOPIC (control/{device_id}/command)"),
    ],
)
def test_a_stream_that_would_hear_what_autoforge_says_is_unusable(
    topic: str, told: str, declare: Declare
) -> None:
    state = f'{TOPIC}{METRIC}[health]\nstatus_topic = "said/state"\n'
    streams = declare(state=state, x=f'topic = "{topic}"\ndevice = "d"\n{METRIC}')
    assert streams.unusable == ({"x": f"x.toml: topic: {told}"} if told else {})
    # Nothing is heard there for it either: it would be taken for what AutoForge says.
    assert len(streams.subscriptions()) == (3 if told else 4)


@pytest.mark.parametrize(
    ("topics", "text"),
    [
        ({}, 'topic = "control/{device_id}/state"'),
        ({}, 'topic = "{device_id}/{metric}/data"'),
        (
            {"ack_topic": "+/ack", "status_topic": "+/status", "control_topic": "+/command"},
            'topic = "{device_id}/data"',
        ),
        ({"status_topic": "control/+"}, 'topic = "status/{device_id}"'),
    ],
)
def test_topics_that_no_message_can_share_are_allowed(
    topics: dict[str, Any], text: str, tmp_path: Path
) -> None:
    (tmp_path / "x.toml").write_text(f"{text}\n{METRIC}")
    streams = load(tmp_path, {}, DeviceTopics.of(Settings(_env_file=None, **topics)))
    filters = streams.subscriptions()
    assert filters[-2:] == [
        topics.get("ack_topic", "control/+/ack"),
        topics.get("status_topic", "status/+"),
    ]
    assert len(filters) == 3


def test_two_streams_may_share_a_level_where_their_metrics_differ(declare: Declare) -> None:
    streams = declare(one=f"{METRIC_TOPIC}[metrics.t]\n", other=f"{METRIC_TOPIC}[metrics.u]\n")
    assert streams.match("a/7/t") == TopicMatch(streams["one"], "7", "t")
    assert streams.match("a/7/u") == TopicMatch(streams["other"], "7", "u")


@pytest.mark.parametrize(
    ("one", "other", "topic", "receiver"),
    [
        ("a/{device_id}", "a/b", "a/b", ("other", None)),
        ("a/{device_id}", "a/b", "a/c", ("one", "c")),
        ("a/b", "a/{device_id}", "a/b", ("one", None)),
        ("a/{device_id}", "{device_id}/b", "a/b", ("one", "b")),
        ("{device_id}/b", "a/{device_id}", "a/b", ("other", "b")),
        ("{device_id}/b", "a/{device_id}", "c/b", ("one", "c")),
        ("{device_id}/{metric}", "a/{device_id}", "a/t", ("other", "t")),
        ("{device_id}/{metric}", "a/{device_id}", "b/t", ("one", "b")),
        ("{device_id}/b/{metric}", "a/{device_id}/{metric}", "a/b/t", ("other", "b")),
    ],
)
def test_a_topic_belongs_to_the_stream_with_the_plain_level(
    one: str, other: str, topic: str, receiver: tuple[str, str | None], declare: Declare
) -> None:
    streams = declare(
        **{
            name: f'topic = "{text}"\ndevice = "d"\n{METRIC}'
            for name, text in (("one", one), ("other", other))
        }
    )
    found = streams.match(topic)
    assert found is not None
    assert (found[0].name, found[1]) == receiver
    assert [stream.name for stream in streams] == ["one", "other"]


@pytest.mark.parametrize(
    ("topics", "stream", "topic", "kind"),
    [
        ({}, "{device_id}/{metric}", "status/t", PresenceNotice),
        ({}, "{device_id}/{metric}", "board/t", Reading),
        ({}, "{device_id}/x/{metric}", "control/x/t", Reading),
        ({}, "{device_id}/x/ack", "control/x/ack", Acknowledgement),
        ({}, "{device_id}/x/ack", "board/x/ack", Reading),
        ({}, "status/oven", "status/oven", Reading),
        ({}, "status/oven", "status/board", PresenceNotice),
        ({"status_topic": "+/on"}, "a/{device_id}", "a/on", Reading),
        ({"status_topic": "+/on"}, "a/{device_id}", "b/on", PresenceNotice),
        ({"status_topic": "+/x/ack"}, "a", "control/x/ack", Acknowledgement),
        ({"status_topic": "+/x/ack"}, "a", "b/x/ack", PresenceNotice),
    ],
)
def test_plain_levels_win_over_placeholders_beside_readings_too(
    topics: dict[str, Any], stream: str, topic: str, kind: type[object], tmp_path: Path
) -> None:
    (tmp_path / "x.toml").write_text(
        f'topic = "{stream}"\ndevice = "d"\ndevice_default = "e"\n{METRIC}'
    )
    declared = DeviceTopics.of(Settings(_env_file=None, **topics))
    parser = Parser(load(tmp_path, {}, declared), DeviceKinds.of(declared))
    payload = (
        b"online"
        if kind is PresenceNotice
        else b'{"command_id":"c","status":"failed","value":1,"t":1}'
    )
    assert isinstance(parser.parse(Message(topic, payload, RECEIVED)), kind)


def test_a_folder_without_declarations_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(
        StreamError, match=r"no stream is declared here: expected at least one file such as sensors"
    ):
        load(tmp_path, {}, DEVICE_TOPICS)


def test_what_is_not_declared_has_a_default(declare: Declare) -> None:
    stream = declare(**{"soil-state": TOPIC + METRIC})["soil-state"]
    assert (stream.title, stream.table, stream.device, stream.device_default) == (
        "soil-state",
        "soil_state_readings",
        "device_id",
        "",
    )
    assert (stream.timestamp.field, stream.timestamp.required, stream.values) == (
        "timestamp",
        False,
        "",
    )
    (metric,) = stream.metrics
    assert (metric.title, metric.unit, metric.type, metric.required) == ("t", "", "number", False)
    assert (metric.plural, metric.level, metric.simulate) == ("t", "t", Simulation())


def test_the_shipped_streams_are_as_documented(streams: Streams) -> None:
    sensors = streams["sensors"]
    assert streams.get("sensors") is sensors
    assert streams.get("nothing") is None
    assert (sensors.table, sensors.timestamp.required) == ("sensor_readings", True)
    described: list[tuple[str, str, bool]] = [
        (m.name, m.plural, m.required) for m in sensors.metrics
    ]
    assert described == [
        ("temperature", "temperatures", True),
        ("vibration", "vibrations", True),
        ("gas", "gases", True),
        ("power", "powers", True),
    ]
    assert "sensors/+/data" in streams.subscriptions()


def test_sensor_topic_replaces_the_declared_topic() -> None:
    topics = {"sensors": "factory/{device_id}/state", "unknown": "x/{device_id}"}
    streams = load(PROJECT / "streams", topics, DEVICE_TOPICS)
    assert "factory/+/state" in streams.subscriptions()
    assert streams.match("factory/ESP32_001/state") == TopicMatch(
        streams["sensors"], "ESP32_001", None
    )
    assert streams.match("sensors/ESP32_001/data") is None


SHAPES = {
    "sensors": 'topic = "sensors/{device_id}/data"\n[metrics.t]\n',
    "machine": 'topic = "flexotwin/machine/status"\ndevice = "machine_id"\n[metrics.t]\n',
    "panel": 'topic = "panel/{device_id}/{metric}"\n[metrics.volt]\nlevel = "voltage"\n[metrics.ampere]\n',
    "plant": 'topic = "plant/{metric}"\ndevice = "d"\ndevice_default = "plant"\n[metrics.ampere]\n[metrics.a_b]\n'
    'level = "a.b"\n',
    "first": 'topic = "{device_id}/x/y/z"\n[metrics.t]\n',
}


@pytest.mark.parametrize(
    ("topic", "found"),
    [
        ("sensors/ESP32_001/data", ("sensors", "ESP32_001", None)),
        ("sensors//data", ("sensors", "", None)),
        ("sensors/a\nb/data", ("sensors", "a\nb", None)),
        ("sensors/(?P<device>/data", ("sensors", "(?P<device>", None)),
        ("flexotwin/machine/status", ("machine", None, None)),
        ("panel/trafo1/voltage", ("panel", "trafo1", "voltage")),
        ("panel/trafo1/ampere", ("panel", "trafo1", "ampere")),
        ("plant/ampere", ("plant", None, "ampere")),
        ("plant/a.b", ("plant", None, "a.b")),
        ("7/x/y/z", ("first", "7", None)),
        ("sensors/ESP32_001/data/", None),
        ("/sensors/ESP32_001/data", None),
        ("sensors/a/b/data", None),
        ("Sensors/a/data", None),
        ("sensors/a/data\n", None),
        ("panel/trafo1/volt", None),
        ("panel/trafo1/voltag", None),
        ("plant/a-b", None),
        ("", None),
    ],
)
def test_a_topic_belongs_to(
    topic: str, found: tuple[str, str | None, str | None] | None, declare: Declare
) -> None:
    streams = declare(**SHAPES)
    expected = None if found is None else TopicMatch(streams[found[0]], *found[1:])
    assert streams.match(topic) == expected


def test_it_subscribes_to_each_stream_and_to_each_metric_with_a_topic(declare: Declare) -> None:
    assert declare(**SHAPES).subscriptions() == [
        "+/x/y/z",
        "flexotwin/machine/status",
        "panel/+/voltage",
        "panel/+/ampere",
        "plant/ampere",
        "plant/a.b",
        "sensors/+/data",
        "control/+/ack",
        "status/+",
    ]


def test_it_fills_a_topic_with_a_device_and_a_metric(declare: Declare) -> None:
    def topic(stream: Stream, level: str = "") -> str:
        return stream.topic.fill("7", level)

    streams = declare(**SHAPES)
    assert topic(streams["sensors"]) == "sensors/7/data"
    assert topic(streams["panel"], "voltage") == "panel/7/voltage"
    assert topic(streams["plant"], "a.b") == "plant/a.b"
