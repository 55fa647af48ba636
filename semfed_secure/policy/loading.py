"""Read a policy document from bytes: strict YAML or TOML, then the typed model."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from semfed_secure.errors import ConfigurationError
from semfed_secure.plain_toml import parse_toml
from semfed_secure.policy.document import PolicyDocument
from semfed_secure.policy.strict_yaml import MAX_BYTES, StrictYamlError, Tree, parse_yaml

MAX_PROBLEMS = 20
"""More problems than this are one problem: the file is something else."""


def parse_document(data: bytes, *, name: str) -> PolicyDocument:
    """Read one policy file.

    What is returned was written in the file, spelled out and in its place: unknown fields, values of another type and
    ambiguous spellings are refused, never ignored or converted.

    Args:
        data: The bytes of the file.
        name: What messages call it; a name that ends in ``.toml`` is read as TOML, any other as YAML.

    Raises:
        ConfigurationError: SF111, naming the line, the field and every problem found.
    """
    tree = parse_tree(data, name=name, code="SF111")
    try:
        return PolicyDocument.model_validate_json(json.dumps(tree.value), strict=True)
    except ValidationError as error:
        raise refuse_invalid(error, tree, name=name, code="SF111") from error


def parse_tree(data: bytes, *, name: str, code: str) -> Tree:
    """Read a file into plain values, refusing every ambiguous spelling.

    Raises:
        ConfigurationError: ``code``, naming the line.
    """
    if len(data) > MAX_BYTES:
        raise ConfigurationError(code, f"{name}: at most {MAX_BYTES} bytes are read, it has {len(data)}", file=name)
    try:
        text = data.decode("utf-8")
        tree = _parse_toml(text) if name.endswith(".toml") else parse_yaml(text)
    except StrictYamlError as error:
        raise ConfigurationError(code, f"{name}, line {error.line}: {error}", file=name, line=error.line) from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(code, f"{name}: not readable: {error}", file=name) from error
    if not isinstance(tree.value, dict):
        raise ConfigurationError(code, f"{name}: a mapping is expected at the top", file=name)
    return tree


def _parse_toml(text: str) -> Tree:
    value = parse_toml(text)
    _refuse_toml_types(value, "")
    return Tree(value)


def _refuse_toml_types(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_toml_types(item, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for item in value:
            _refuse_toml_types(item, where)
    elif not isinstance(value, str | int | bool):
        raise ValueError(f"{where}: numbers with a point and dates are written in quotes")  # noqa: TRY004 (bad input)


def refuse_invalid(error: ValidationError, tree: Tree, *, name: str, code: str) -> ConfigurationError:
    """Turn all problems of a validation into one coded error, each with its line and field."""
    problems = [_problem(detail, tree) for detail in error.errors(include_url=False, include_input=False)]
    said = "; ".join(problems[:MAX_PROBLEMS])
    return ConfigurationError(code, f"{name}: {said}", file=name, problems=problems)


def _problem(detail: Any, tree: Tree) -> str:
    path = tuple(detail["loc"])
    known = max((path[:size] for size in range(len(path) + 1) if path[:size] in tree.lines), key=len, default=None)
    line = f"line {tree.lines[known]}: " if known is not None else ""
    where = ".".join(str(part) for part in path) or "document"
    message = "no such field" if detail["type"] == "extra_forbidden" else detail["msg"].removeprefix("Value error, ")
    return f"{line}{where}: {message[:1].lower()}{message[1:]}"
