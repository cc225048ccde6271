"""JSON Schemas at work: jsonschema-rs, which finds a fault in 1 to 3 µs where jsonschema takes 100 to 500.

Rule: nothing is fetched, and no pattern takes more than linear time, whatever a publisher sends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

from .model import BadSchema, Fault, Schema

_OWN = "the-event-s"
"""No definition's name."""

MASK = "this"
"""What stands for the data in texts."""


def fault_finder(schema: Schema, definitions: Mapping[str, Schema]) -> Callable[[Any], Fault | None]:
    """Raises `BadSchema`."""
    whole: dict[str, Any] = {"$defs": {**definitions, _OWN: schema}, "$ref": f"#/$defs/{_OWN}"}
    try:
        validator = Draft202012Validator(whole, mask=MASK, pattern_options=RegexOptions(), retriever=_nothing)
    except (ValidationError, ValueError) as error:
        path = getattr(error, "instance_path", [])[2:]  # behind that of `schema`: the others were looked at before
        message = getattr(error, "message", str(error)).replace(MASK, "what stands there", 1)
        raise BadSchema(f"not a JSON Schema: {message}", path) from None

    def fault(data: Any) -> Fault | None:
        try:
            if validator.is_valid(data):
                return None
            error = next(validator.iter_errors(data))
            return error.instance_path, error.message
        except ValueError:  # over the validator's own limits
            return (), "is nested too deeply to be checked"

    return fault


def _nothing(uri: str) -> Any:
    raise LookupError(f"{uri} is not fetched")
