"""Fields of a configuration changed on the command line: `section.field=value`, the value read as YAML."""

from __future__ import annotations

from typing import Any

import yaml

from trainer_client.training_errors import ConfigError


def overridden(fields: dict[str, Any], override: str) -> dict[str, Any]:
    """A copy of `fields` with one changed as an override `section.field=value` says. Raises `ConfigError`."""
    name, equals, text = override.partition("=")
    keys = name.split(".")
    if not equals or not all(keys):
        raise ConfigError(f"{override}: an override is written section.field=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{override}: its value is no YAML: {' '.join(str(error).split())}") from error
    changed: dict[str, Any] = _put(fields, keys, value, override)
    return changed


def _put(container: Any, keys: list[str], value: Any, override: str) -> Any:
    """A copy of `container` in which the value under `keys` is another."""
    key, *rest = keys
    if isinstance(container, list):
        if not key.isdecimal() or int(key) >= len(container):
            raise ConfigError(f"{override}: {key} is no place in a list of {len(container)}")
        place = int(key)
        changed = _put(container[place], rest, value, override) if rest else value
        return [*container[:place], changed, *container[place + 1 :]]
    if container is not None and not isinstance(container, dict):
        raise ConfigError(f"{override}: there are no fields below a {type(container).__name__}")
    container = container or {}
    return {**container, key: _put(container.get(key), rest, value, override) if rest else value}
