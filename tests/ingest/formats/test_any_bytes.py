"""Whatever bytes come, each format decodes them to what JSON would have, or refuses them."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.formats.decoder import document_decoder
from ingest.values import PayloadError
from streams.payload_shape import Format, PayloadShape

EXAMPLES = [
    b'{"a":[1.50,true,null,"x"]}',
    b'a,"b ""c""",d\n1,2,"3\n4"\n5,6\n',
    b'm,t\\ 1=a x=1i,y="b c",z=t 17\n# n\nm x=0.5\n',
    b'[{"bn":"urn:dev:ow:1:","bt":1759163270,"bv":0.1,"n":"t","v":2.50},{"n":"h","t":-5,"vs":"x","s":1}]',
    b"\x84\xa1a\xcb@7\x80\0\0\0\0\0\1\xd6\xffh\xda\xb3\x86\xa1b\xc4\1x\xa1c\x92\xc0\xd4\5a",
    b"\xa4aa\xc4\x82\x21\x19j\xb3\1\xc2I\1\0\0\0\0\0\0\0\0abBxyac\x9f\xf7\xf9~\0\xff",
    b"\x08\xf0\x86\xb5\xb2\x993\x12\x13\n\1a\x18\xf1\x86\xb5\xb2\x993 \1P\xff\1\x12\x08\n\1b\x10\7z\1x\x18\1",
]
JSON = (dict, list, str, int, float, bool, type(None))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An example in which a piece is replaced."""
    example = draw(st.sampled_from(EXAMPLES))
    start = draw(st.integers(0, len(example)))
    end = draw(st.integers(start, min(start + 3, len(example))))
    return example[:start] + draw(st.binary(max_size=3)) + example[end:]


def parts(value: Any) -> list[Any]:
    """A value and all that is in it."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(part for one in inner for part in parts(one))]


def outcome(written: Format, payload: bytes) -> Any:
    """The document, or the error that refuses it as a whole."""
    try:
        return document_decoder(PayloadShape(format=written))(payload)
    except PayloadError as error:
        return error


@pytest.mark.parametrize("written", get_args(Format))
@given(payload=st.binary(max_size=30) | damaged())
def test_any_bytes_are_a_document_or_refused(written: Format, payload: bytes) -> None:
    for part in parts(outcome(written, payload)):
        if isinstance(part, PayloadError):
            assert all(text and text.isprintable() for text in (part.reason, str(part)))
        else:
            assert isinstance(part, JSON)
            assert not isinstance(part, dict) or all(isinstance(key, str) for key in part)
