"""The words that say online and offline: what is the same word, and what is another one."""

import pytest

from streams.presence_words import MAX_COMPARED, PresenceWord

JSON = '{"state":"online","by":[1,true]}'


@pytest.mark.parametrize(
    ("declared", "payload"),
    [
        ("Online", b"Online"),
        (" Online\n", b"\tOnline \r\n"),
        ("Online", b"\xef\xbb\xbfOnline"),
        ("Online", b"Online\0\0"),
        ("läuft 🌡", "läuft 🌡".encode()),
        ("true", b"true"),
        ("1", b"1"),
        (JSON, b'{ "by": [1.0, true],\n "state": "\\u006fnline" }'),
        (JSON, b"\xef\xbb\xbf" + JSON.encode() + b"\0"),
        ("[ 1 ]", b"[1]"),
        ("{}", b"{ }"),
        ('{"state":null}', b'{"state":null}'),
    ],
)
def test_it_is_the_same_word(declared: str, payload: bytes) -> None:
    assert PresenceWord.declared(declared).means(PresenceWord.said(payload))


@pytest.mark.parametrize(
    ("declared", "payload"),
    [
        ("Online", b"online"),
        ("Online", b"Online!"),
        ("Online", b'"Online"'),
        ("Online", b" "),
        ("true", b"1"),
        ("1", b"1.0"),
        (JSON, b'{"state":"online","by":[1,true],"more":1}'),
        (JSON, b'{"state":"online"}'),
        (JSON, b'{"state":"online","by":[true,1]}'),
        (JSON, b'{"state":"online","by":{}}'),
        (JSON, JSON.encode()[:-1]),
        (JSON, b"online"),
        (JSON, b"[" * 60_000),
        (JSON, JSON.encode() + b" " * MAX_COMPARED),
        ("Online", "Online".encode("utf-16")),
        ("Online", b"\xffOnline"),
    ],
)
def test_it_is_another_word(declared: str, payload: bytes) -> None:
    assert not PresenceWord.declared(declared).means(PresenceWord.said(payload))
