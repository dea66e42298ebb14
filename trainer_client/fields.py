"""Every field of the YAML file with its type, default and meaning, from what config.py declares."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from trainer_client.config import Config
from trainer_client.training_errors import ConfigError


class FieldLine(NamedTuple):
    """One field."""

    name: str
    type: str
    default: str
    meaning: str


def field_lines(beginning: str = "") -> list[FieldLine]:
    """The fields whose dotted names begin with a section's, or all. Raises `ConfigError` where there are none."""
    found = [line for line in _of(Config, "") if f"{line.name}.".startswith(f"{beginning}." if beginning else "")]
    if not found:
        sections = ", ".join(name for name, field in Config.model_fields.items() if _section(field.annotation))
        raise ConfigError(f"there is no section {beginning!r}; there are {sections}")
    return found


def _of(model: type[BaseModel], prefix: str) -> Iterator[FieldLine]:
    for name, field in model.model_fields.items():
        section = _section(field.annotation)
        if section is None:
            yield FieldLine(prefix + name, _type(field.annotation), _default(field), field.description or "")
        else:
            place = "0." if get_origin(field.annotation) is list else ""
            yield from _of(section, f"{prefix}{name}.{place}")


def _section(annotation: Any) -> type[BaseModel] | None:
    """The model in an annotation such as `LoraSection | None` or `list[RewardSection]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        if (found := _section(part)) is not None:
            return found
    return None


def _type(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(part) for part in parts)
    if origin is Literal:
        return ", ".join(map(str, parts))
    if origin in (list, tuple):
        return "list of " + _type(parts[0])
    if origin is not None and hasattr(annotation, "__metadata__"):
        return _type(parts[0])
    if annotation is type(None):
        return "null"
    names = {str: "text", int: "integer", float: "number", bool: "true or false", dict: "object"}
    return names.get(origin or annotation, "object")


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(list(value) if isinstance(value, tuple) else value)
