"""Text from outside, made fit for a line of the log."""


def printable(text: str) -> str:
    """The text with everything that does not print, line breaks too, written as an escape."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
