"""What requests and answers are described with."""

from typing import Any, ClassVar

from pydantic import BaseModel


class Described(BaseModel):
    """A model that the OpenAPI document shows."""

    _schemas: ClassVar[dict[Any, dict[str, Any]]] = {}

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The JSON schema; kept, because each operation asks for it, and the router on every request."""
        key = (cls, args, *sorted(kwargs.items()))
        if key not in Described._schemas:
            Described._schemas[key] = super().model_json_schema(*args, **kwargs)
        return Described._schemas[key]
