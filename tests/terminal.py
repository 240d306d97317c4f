"""A terminal for the tests of what a program shows on one."""

import io


class Terminal(io.StringIO):
    """An output that says it is a terminal."""

    def isatty(self) -> bool:
        return True
