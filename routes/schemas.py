"""The base class of the models for requests and responses."""

from typing import Any, ClassVar

from pydantic import BaseModel


class Described(BaseModel):
    """A model that appears in the OpenAPI document."""

    _schemas: ClassVar[dict[Any, dict[str, Any]]] = {}

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the JSON schema, cached because the router needs it on every request."""
        key = (cls, args, *sorted(kwargs.items()))
        if key not in Described._schemas:
            Described._schemas[key] = super().model_json_schema(*args, **kwargs)
        return Described._schemas[key]
