"""Which paths can lead to a field in payloads of a shape; the others can never be read."""

from streams.paths import WHOLE, Path
from streams.payload_shape import PayloadShape

Kind = type[dict] | type[list] | None  # type: ignore[type-arg]
"""An object, an array, or either of them."""


class Reach:
    """Tells the paths that lead nowhere, whatever payloads have."""

    def __init__(self, shape: PayloadShape) -> None:
        paths = [Path.of(text) for text in shape.exploded if text != WHOLE]
        self.arrays = tuple(str(path.keys[-1]) for path in paths) if len(paths) > 1 else ()
        """The fields of a reading that is divided into several arrays."""
        self._has_pairs = shape.pairs is not None
        if not shape.exploded and shape.pairs is not None:
            paths = [Path.of(shape.pairs.array)] if shape.pairs.array else []
            self._top: Kind = kind_of(paths[0]) if paths else list
        else:
            kinds = {kind_of(path) for path in paths} - {None}
            self._top = kinds.pop() if len(kinds) == 1 else None

    def fault(self, path: Path) -> str:
        """Return what was expected instead of a path that leads nowhere, or an empty text."""
        if path.from_top:
            return self._fault_at_top(path)
        if self._has_pairs:
            return "the name of a pair, not an index" if kind_of(path) is list else ""
        return self.fault_beside(path)

    def fault_beside(self, path: Path) -> str:
        """Return the same for a path that leads to no pair."""
        if path.from_top:
            return self._fault_at_top(path)
        is_whole_name = len(path.keys) > 1 and path.text in self.arrays
        if not self.arrays or path.keys[0] in self.arrays or is_whole_name:
            return ""
        return f"one of {', '.join(self.arrays)}, or a path from $."

    def _fault_at_top(self, path: Path) -> str:
        if self._top is None or kind_of(path) in (None, self._top):
            return ""
        if self._top is list:
            return "no path from $. that begins with a name, because payloads are arrays"
        return "no path from $. that begins with an index, because payloads are objects"


def kind_of(path: Path) -> Kind:
    """Return what a path begins in."""
    if isinstance(path.keys[0], str):
        return dict
    # An object may have a field of which the whole name is a path of several keys.
    return list if len(path.keys) == 1 else None
