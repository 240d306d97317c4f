"""SENSOR_TOPIC and its siblings: what is wrong with a topic is said of the variable, and for the right reason."""

import pytest

from config import Settings, SettingsError, load_settings

VARIABLES = ("SENSOR_TOPIC", "CONTROL_TOPIC", "ACK_TOPIC", "STATUS_TOPIC")


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("/sensors/+/data", "it begins with /, which makes its first level empty"),
        ("/", "it begins with /, which makes its first level empty"),
        ("sensors/+/data/", "it ends with /, which makes its last level empty"),
        ("sensors//+", "it has // and so an empty level"),
        ("$share/g/sensors/+/data", "it is a shared subscription; leave out $share and the group"),
        ("$SYS/+/data", "it begins with $, which is for the broker's own topics"),
        ("$queue/+", "it begins with $, which is for the broker's own topics"),
        ("sensors/+/#", "it has a #, which stands for any number of levels"),
        ("#", "it has a #, which stands for any number of levels"),
        ("a#b/+", "it has a #, which stands for any number of levels"),
        ("sensors/data", "exactly one level must be {device_id} or +, not none"),
        ("sensors/+/+", "exactly one level must be {device_id} or +, not 2"),
        ("sensors/+/{device_id}", "exactly one level must be {device_id} or +, not 2"),
        ("a+b/+", "'a+b' must be plain text; + or {device_id} stands alone in its level"),
        (
            "a/x{device_id}",
            "'x{device_id}' must be plain text; + or {device_id} stands alone in its level",
        ),
        (
            "a/{device}/+",
            "'{device}' must be plain text; + or {device_id} stands alone in its level",
        ),
        (
            "a/{metric}/+",
            "'{metric}' must be plain text; + or {device_id} stands alone in its level",
        ),
        ("a\u200b/+", "it has the invisible character U+200B"),
        ("a\u3164/+", "it has the invisible character U+3164"),
        ("a\x07/+", "it has the invisible character U+0007"),
        ("a\n/+", "it has the invisible character U+000A"),
        (f"{'a' * 1023}/+", "it has 1,025 characters, at most 1,024 are allowed"),
    ],
)
def test_a_topic_that_cannot_be_used_names_its_variable_and_the_reason(
    variable: str, topic: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, topic)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{variable}=")
    assert line.endswith(f": must be a topic such as sensors/{{device_id}}/data: {reason}")


@pytest.mark.parametrize(
    ("topic", "read"),
    [
        ("+", "{device_id}"),
        ("{device_id}", "{device_id}"),
        ("two words/+", "two words/{device_id}"),
        ("Gerät/+/wert", "Gerät/{device_id}/wert"),
        (" sensors/+/data ", "sensors/{device_id}/data"),
        (f"{'a' * 1022}/+", f"{'a' * 1022}/{{device_id}}"),
    ],
)
def test_any_other_topic_with_one_level_for_the_device_is_taken(topic: str, read: str) -> None:
    assert Settings(_env_file=None, sensor_topic=topic).sensor_topic == read
