"""Writes the files of a federation as their strict readers want them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml


class _Quoted(yaml.SafeDumper):
    """Writes every text in quotes: the strict loader refuses ``1e-6`` and the like without them."""


_Quoted.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def write_yaml(path: Path, document: Mapping[str, object]) -> None:
    """Write a YAML document, every text in quotes."""
    written = yaml.dump(document, Dumper=_Quoted, sort_keys=False, allow_unicode=True)
    path.write_text(written, encoding="utf-8")


def write_lines(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write JSON lines, making the directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write_toml(path: Path, document: Mapping[str, Mapping[str, object]]) -> None:
    """Write a TOML document of flat sections; texts, whole and real numbers only."""
    lines = []
    for section, values in document.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
        lines.append("")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")
