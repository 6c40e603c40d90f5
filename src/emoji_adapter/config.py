"""Settings: dataclasses from mappings and YAML, and where the packaged weights lie. No tensor library."""

import dataclasses
import difflib
import os
import re
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml

from emoji_adapter.errors import InputError, WeightsNotFoundError

WEIGHTS_VARIABLE = "EMOJI_ADAPTER_WEIGHTS"
"""Environment variable that names another root of the packaged weights (the folder that holds `micro`)."""

GUIDANCE = 1.4
"""Classifier-free guidance of the micro-world, chosen with the embedded weights; for other checkpoints see
`pipelines.guidance`."""

T = TypeVar("T")


def packaged_weights() -> Path:
    """Return the root of the packaged weights, the folder that holds `micro`; it may not exist.

    In an installed wheel that is `emoji_adapter/weights`, in a checkout `weights` at the top.
    """
    override = os.environ.get(WEIGHTS_VARIABLE)
    if override:
        return Path(override)
    package = Path(__file__).parent
    installed = package / "weights"
    return installed if installed.is_dir() else package.parents[1] / "weights"


def packaged_part(part: str) -> Path:
    """Return the path of one part of the packaged micro weights, e.g. `faces`, `teacher/blendshapes.onnx`.

    Raises:
        WeightsNotFoundError: the part is not there.
    """
    path = packaged_weights() / "micro" / part
    if not path.exists():
        raise WeightsNotFoundError(
            f"The packaged weights have no {part!r}: expected {path}. Install the package again, point "
            f"{WEIGHTS_VARIABLE} at a folder that holds 'micro', or make them with "
            "`emoji-adapter microworld build`."
        )
    return path


def from_mapping(cls: type[T], mapping: Mapping[str, Any], *, name: str = "config") -> T:
    """Build the dataclass `cls` from a mapping, as read from YAML or JSON.

    Nested dataclasses are built from nested mappings, tuples from lists, floats from whole numbers.
    Nothing else is converted.

    Args:
        cls: a dataclass with annotated fields.
        mapping: field name to value; fields with defaults may be left out.
        name: what to call the mapping in messages, e.g. the file it came from.

    Raises:
        InputError: an unknown key (the nearest valid name is given), a missing one, or a value of a wrong
            type.
    """
    if not isinstance(mapping, Mapping):
        raise InputError(f"{name} must be a mapping of settings, got {mapping!r}.")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    for key in mapping:
        if key not in fields:
            raise InputError(_unknown_key(key, fields, name))
    missing = [key for key, field in fields.items() if key not in mapping and _is_required(field)]
    if missing:
        raise InputError(f"{name} lacks {', '.join(missing)}, which {cls.__name__} needs.")
    hints = typing.get_type_hints(cls)
    return cls(**{key: _convert(value, hints[key], f"{name}.{key}") for key, value in mapping.items()})


def to_mapping(config: Any) -> dict[str, Any]:
    """Return a dataclass as plain dicts, lists and scalars: the inverse of `from_mapping`."""
    return _plain(dataclasses.asdict(config))


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping. `1e-4` is a number here, as in YAML 1.2.

    Raises:
        InputError: the file is missing, is not YAML, or holds something else than a mapping.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise InputError(f"Cannot read the settings file {path}: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a mapping `name: value`, got a {type(content).__name__}.")
    return content


def load_config(cls: type[T], path: str | Path, overrides: Iterable[str] = ()) -> T:
    """Build `cls` from a YAML file and `key=value` overrides; `a.b=1` reaches into a nested dataclass.

    Raises:
        InputError: see `read_yaml` and `from_mapping`; or an override without `=`.
    """
    mapping = read_yaml(path)
    for override in overrides:
        _override(mapping, override)
    return from_mapping(cls, mapping, name=str(path))


def recipe_path(recipe: str | Path, folder: Path) -> Path:
    """Path of a recipe: the name of a packaged one, or a YAML file of one's own.

    Args:
        recipe: a name, or a path that ends in .yaml or .yml.
        folder: of the packaged ones.

    Raises:
        InputError: no packaged recipe of this name.
    """
    path = Path(recipe)
    if path.suffix in {".yaml", ".yml"}:
        return path
    path = folder / f"{recipe}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(item.stem for item in folder.glob("*.yaml")))
        raise InputError(
            f"There is no recipe {str(recipe)!r}. Packaged: {known}; or give the path of a YAML file, ending "
            "in .yaml."
        )
    return path


def save_config(config: Any, path: str | Path) -> None:
    """Write a dataclass as YAML, whole or not at all."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(yaml.safe_dump(to_mapping(config), sort_keys=False), encoding="utf-8")
    os.replace(partial, path)


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads `1e-4` as a float; YAML 1.1 asks for the dot in `1.0e-4`."""

    yaml_implicit_resolvers: ClassVar = {
        k: list(v) for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$"), "-+0123456789"
)


def _unknown_key(key: object, fields: Iterable[str], name: str) -> str:
    near = difflib.get_close_matches(str(key), fields, n=1, cutoff=0.5)
    advice = f"Did you mean {near[0]!r}?" if near else f"Valid names: {', '.join(sorted(fields))}."
    return f"{name} has the unknown key {key!r}. {advice}"


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _override(mapping: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise InputError(f"The override {override!r} must read key=value.")
    *parents, last = key.split(".")
    for parent in parents:
        mapping = mapping.setdefault(parent, {})
        if not isinstance(mapping, dict):
            raise InputError(f"The override {override!r} reaches into {parent!r}, which is a plain value.")
    mapping[last] = yaml.load(text, Loader=_Loader)


def _convert(value: Any, hint: Any, name: str) -> Any:
    origin = typing.get_origin(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _convert_union(value, hint, name)
    if origin is typing.Literal:
        if value in typing.get_args(hint):
            return value
        raise InputError(
            f"{name} must be one of {', '.join(map(repr, typing.get_args(hint)))}, got {value!r}."
        )
    if origin is tuple:
        return _convert_tuple(value, hint, name)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else from_mapping(hint, value, name=name)
    return _convert_plain(value, origin or hint, name)


def _convert_union(value: Any, hint: Any, name: str) -> Any:
    for option in typing.get_args(hint):
        try:
            return _convert(value, option, name)
        except InputError:
            continue
    raise InputError(f"{name} must be {hint}, got {value!r}.")


def _convert_tuple(value: Any, hint: Any, name: str) -> tuple[Any, ...]:
    items = typing.get_args(hint)
    if not isinstance(value, list | tuple):
        raise InputError(f"{name} must be a list, got {value!r}.")
    if len(items) == 2 and items[1] is Ellipsis:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        raise InputError(f"{name} must have {len(items)} items, got {len(value)}: {value!r}.")
    return tuple(
        _convert(item, kind, f"{name}[{i}]") for i, (item, kind) in enumerate(zip(value, items, strict=True))
    )


def _convert_plain(value: Any, kind: Any, name: str) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
        return value
    raise InputError(f"{name} must be {kind.__name__}, got {value!r}.")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
