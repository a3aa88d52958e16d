"""Protobuf fields by name, from the plain values of a fault script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class FieldError(Exception):
    """A field that a message does not have, or a value that it does not take."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why


def filled(message: Any, values: Mapping[str, Any], *, whole: bool = False) -> Any:
    """The message itself, with fields set: names, nested objects, lists; enumerations by their words; null clears.

    Raises:
        FieldError: naming the field; with ``whole`` also where a required field is missing.
    """
    _fill(message, values, "fields")
    missing = [name for name in message.FindInitializationErrors() if name != "payloadType"] if whole else []
    if missing:
        raise FieldError("fields", f"{message.DESCRIPTOR.name} needs {', '.join(missing)}")
    return message


def agrees(message: Any, conditions: Mapping[str, Any]) -> bool:
    """Whether every dotted path has its value; a field that is not set agrees with nothing."""
    return all(_at(message, path.split("."), value) for path, value in conditions.items())


def check_path(kind: type[Any], path: str, value: object) -> None:
    """Raise FieldError where a dotted path leads nowhere in a message, or an enumeration lacks the word."""
    descriptor = kind.DESCRIPTOR
    *parents, last = path.split(".")
    for name in parents:
        field = descriptor.fields_by_name.get(name)
        if field is None or field.message_type is None:
            raise FieldError(f"where.{path}", f"{descriptor.name} has no message {name!r}")
        descriptor = field.message_type
    field = descriptor.fields_by_name.get(last)
    if field is None:
        raise FieldError(f"where.{path}", f"{descriptor.name} has no field {last!r}")
    if field.enum_type is not None and isinstance(value, str):
        _enumerated(field, value, f"where.{path}")


def _at(message: Any, path: list[str], value: object) -> bool:
    for name in path[:-1]:
        if name not in message.DESCRIPTOR.fields_by_name or not message.HasField(name):
            return False
        message = getattr(message, name)
    field = message.DESCRIPTOR.fields_by_name.get(path[-1])
    if field is None:
        return False
    if field.enum_type is not None and isinstance(value, str):
        value = _enumerated(field, value, path[-1])
    found = getattr(message, path[-1])
    return bool(found == value) and (not hasattr(found, "DESCRIPTOR"))


def _fill(message: Any, values: Mapping[str, Any], where: str) -> None:
    fields = message.DESCRIPTOR.fields_by_name
    for name, value in values.items():
        field, place = fields.get(name), f"{where}.{name}"
        if field is None:
            raise FieldError(place, f"{message.DESCRIPTOR.name} has no such field")
        if value is None:
            message.ClearField(name)
        elif isinstance(value, list):
            _fill_list(message, field, value, place)
        elif field.message_type is not None:
            if not isinstance(value, Mapping):
                raise FieldError(place, "needs an object")
            getattr(message, name).SetInParent()
            _fill(getattr(message, name), value, place)
        else:
            scalar = _scalar(field, value, place)
            try:
                setattr(message, name, scalar)
            except (AttributeError, TypeError, ValueError) as error:
                raise FieldError(place, f"{value!r} does not fit") from error


def _fill_list(message: Any, field: Any, values: list[Any], place: str) -> None:
    message.ClearField(field.name)
    try:
        target = getattr(message, field.name)
        for value in values:
            if field.message_type is not None:
                _fill(target.add(), value, place)
            else:
                target.append(_scalar(field, value, place))
    except (AttributeError, TypeError, ValueError) as error:
        raise FieldError(place, f"{values!r} does not fit") from error


def _scalar(field: Any, value: Any, place: str) -> Any:
    return _enumerated(field, value, place) if field.enum_type is not None and isinstance(value, str) else value


def _enumerated(field: Any, word: str, place: str) -> int:
    known = field.enum_type.values_by_name
    if word not in known:
        raise FieldError(place, f"{word!r} is none of {', '.join(known)}")
    number: int = known[word].number
    return number
