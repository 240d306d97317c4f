"""Decoded documents, for the tests of formats."""

from typing import Any

import pytest

from ingest.formats.decoder import document_decoder
from ingest.showing import Spelled
from ingest.values import PayloadError
from streams.payload_shape import PayloadShape

BAD = "bad: "


def document(shape: PayloadShape, payload: str | bytes) -> Any:
    """The document, with the text of each bad member behind `bad: `."""
    decoded = document_decoder(shape)(payload.encode() if isinstance(payload, str) else payload)
    if isinstance(decoded, list):
        return [BAD + str(one) if isinstance(one, PayloadError) else one for one in decoded]
    return decoded


def refused(shape: PayloadShape, payload: str | bytes) -> tuple[str, str]:
    """The reason and the sentence."""
    with pytest.raises(PayloadError) as caught:
        document(shape, payload)
    return caught.value.reason, str(caught.value)


def spelling(number: object) -> str:
    """How a number was written, as far as the document still says so."""
    assert isinstance(number, Spelled)
    return number.text
