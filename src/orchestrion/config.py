"""The config kernel: frozen dataclasses of the same shape as the objects that they build.

A config class stands beside the class that it builds and inherits from `Config` through the role it
plays (`CodecConfig`, `GeneratorConfig` …). As data it is a dict with its class name under `type`.
Reading is strict: an unknown field, a wrong type and a config of another role are refused. So are numbers that can't
be meant: whole ones count something and begin at 1, others at 0, unless the class says otherwise.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator
from types import UnionType
from typing import Any, ClassVar, TypeVar, Union, dataclass_transform, get_args, get_origin

from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn

from orchestrion.errors import UserError, did_you_mean

C = TypeVar("C", bound="Config")


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Config:
    """Base of every config. Subclasses become frozen, keyword-only dataclasses by themselves.

    from_zero: fields whose whole numbers may be 0, besides those that are by default. signed: whose may be negative.
    of_use: fields that say how a part is used, so that weights fit it whatever they are.
    """

    registry: ClassVar[dict[str, type["Config"]]] = {}
    from_zero: ClassVar[frozenset[str]] = frozenset()
    signed: ClassVar[frozenset[str]] = frozenset()
    of_use: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)
        known = Config.registry.setdefault(cls.__name__, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"two configs are called {cls.__name__}: {known.__module__} and {cls.__module__}")

    def __post_init__(self) -> None:
        """Raises UserError where a number can't be meant. Subclasses that check more call this too."""
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            name, value = field.name, getattr(self, field.name)
            least = int(_counts(field.type) and field.default != 0 and name not in self.from_zero)
            for number in _numbers(value):
                if not math.isfinite(number) or (number < least and name not in self.signed):
                    wanted = "a finite number" if name in self.signed else f"{'1' if least else 'zero'} or more"
                    raise UserError(f"{type(self).__name__}.{name} must be {wanted}, got {value}")

    def same_make(self, other: object) -> bool:
        """Whether they differ in nothing but how they are used."""
        return type(other) is type(self) and all(
            getattr(self, field.name) == getattr(other, field.name)
            for field in dataclasses.fields(self) if field.name not in self.of_use)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the class name of every config under `type`."""
        return _converter.unstructure(self)

    @classmethod
    def from_dict(cls: type[C], data: dict[str, Any]) -> C:
        """The config that `data` describes; raises `UserError` where it doesn't fit."""
        try:
            return _converter.structure(data, cls)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"the configuration of {cls.__name__} can't be read: {error}") from error

    def override(self: C, path: str, value: str) -> C:
        """A copy with one field changed, as `--set generator.net.width=256` asks.

        Of several (stages), one is meant by its place, from 0, or by its name. `value` is read as JSON where it is
        JSON, else as a string.
        """
        data = self.to_dict()
        place: Any = data
        *parents, last = path.split(".")
        for part in parents:
            place = place[_key(place, part, path)]
        place[_key(place, last, path)] = _json_or_text(value)
        return type(self).from_dict(data)

    def digest(self) -> str:
        """A short content hash, the same on every machine."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]


def _key(place: Any, part: str, path: str) -> Any:
    """`part` as a key of a dict, or as an index or a name in a list; `UserError` where there is no such field."""
    if isinstance(place, list):
        called = [each.get("name") if isinstance(each, dict) else None for each in place]
        if part in called:
            return called.index(part)
        if part.isdigit() and int(part) < len(place):
            return int(part)
        parent = path[: f".{path}.".index(f".{part}.")].rstrip(".")
        known = "".join(f", {name}" for name in called if name)
        raise UserError(f"--set {path}: there is no field {part!r}; {parent} has {len(place)}, counted from 0{known}")
    names = [name for name in place if name != "type"] if isinstance(place, dict) else []
    if part not in names:
        raise UserError(f"--set {path}: there is no field {part!r}; {did_you_mean(part, names)}")
    return part


def first_difference(here: Any, there: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """-> the first field (as `--set` names it) in which the plain data of two configs differ, with both values;
    None where they are the same. What one of them lacks is None."""
    if isinstance(here, list | tuple) and isinstance(there, list | tuple) and len(here) == len(there):
        here, there = dict(enumerate(here)), dict(enumerate(there))
    if not (isinstance(here, dict) and isinstance(there, dict)):
        return None if here == there else (path, here, there)
    for key in [*here, *(key for key in there if key not in here)]:
        inner = f"{path}.{key}" if path else str(key)
        if found := first_difference(here.get(key), there.get(key), inner):
            return found
    return None


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


_converter = Converter(detailed_validation=False)


def _unstructure_factory(cls: type[Config]):
    fields = make_dict_unstructure_fn(cls, _converter)

    def unstructure(config: Config) -> dict[str, Any]:
        if type(config) is not cls:  # a field is declared by its role and filled by a subclass
            return _converter.unstructure(config)
        return {"type": cls.__name__, **fields(config)}

    return unstructure


def _structure_factory(role: type[Config]):
    def structure(data: Any, _: type) -> Config:
        if isinstance(data, Config):
            data = data.to_dict()
        if not isinstance(data, dict):
            raise UserError(f"expected a {role.__name__}, got {data!r}")
        name = data.get("type", role.__name__)
        cls = Config.registry.get(name)
        fitting = [n for n, c in Config.registry.items() if issubclass(c, role)]
        if cls is None:
            raise UserError(f"there is no config {name!r}; {did_you_mean(name, fitting)}")
        if not issubclass(cls, role):
            raise UserError(f"{name} can't stand where a {role.__name__} belongs; {did_you_mean(name, fitting)}")
        types = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        for key in data.keys() - {"type"} - types.keys():
            raise UserError(f"{name} has no field {key!r}; {did_you_mean(key, types)}")
        for key, value in data.items():
            if key != "type":
                _check_scalars(f"{name}.{key}", types[key].type, value)
        for key, field in types.items():
            if key not in data and field.default is field.default_factory is dataclasses.MISSING:
                raise UserError(f"{name} needs the field {key!r}")
        return make_dict_structure_fn(cls, _converter)({k: v for k, v in data.items() if k != "type"}, cls)

    return structure


def _numbers(value: Any) -> Iterator[float]:
    """Those in a field: itself, or those in a tuple or a dict of such."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _counts(expected: Any) -> bool:
    """Whether a field's numbers are whole: `int`, `int | None`, `tuple[int, ...]` …"""
    return expected is int or any(_counts(part) for part in get_args(expected))


def _check_scalars(place: str, expected: Any, value: Any) -> None:
    """cattrs converts scalars (int("3"), int(1.5)); a config takes them as they are, in lists too."""
    if get_origin(expected) is tuple and isinstance(value, list | tuple):
        for each in value:
            _check_scalars(place, get_args(expected)[0], each)
        return
    if value is None and type(None) in get_args(expected):
        return
    choice = [part for part in get_args(expected) if part is not type(None)]
    wanted = choice[0] if get_origin(expected) in (Union, UnionType) and len(choice) == 1 else expected
    accepted = {int: (int,), float: (int, float), str: (str,), bool: (bool,)}.get(wanted)
    if accepted and (not isinstance(value, accepted) or (isinstance(value, bool) and wanted is not bool)):
        raise UserError(f"{place} must be {wanted.__name__}, got {value!r}")


_converter.register_unstructure_hook_factory(
    lambda cls: isinstance(cls, type) and issubclass(cls, Config), _unstructure_factory
)
_converter.register_structure_hook_factory(
    lambda cls: isinstance(cls, type) and issubclass(cls, Config), _structure_factory
)
