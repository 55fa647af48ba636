"""Fail if a row of ``controls.yaml`` or ``threats.yaml`` cites a symbol, test or command that does not exist.

Nothing is imported or run: files are parsed, so a typing mistake cannot hide behind a side effect. Whether a cited
test *passes* is what the test run says.
"""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
CONTROL_KEYS = {"id", "framework", "requires", "supports", "symbols", "tests", "audit_query", "customer_duty"}
THREAT_KEYS = {"id", "stride", "linddun", "threat", "mitigation", "symbols", "tests", "residual"}


@cache
def names_in(path: Path) -> frozenset[str]:
    """Every dotted name that a file defines: classes, functions, methods, constants, enum members."""
    found: set[str] = set()

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(prefix + child.name)
                visit(child, f"{prefix}{child.name}.")
            elif isinstance(child, ast.Assign):
                found.update(prefix + target.id for target in child.targets if isinstance(target, ast.Name))
            elif isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name):
                found.add(prefix + child.target.id)

    visit(ast.parse(path.read_text(encoding="utf-8")), "")
    return frozenset(found)


def symbol_problem(symbol: str) -> str | None:
    """Why ``package.module:Name`` is not a symbol of ours, or None."""
    module, _, name = symbol.partition(":")
    path = ROOT / Path(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not module.startswith("semfed_secure") or not path.is_file():
        return f"no module `{module}`"
    return None if not name or name in names_in(path) else f"`{module}` defines no `{name}`"


def test_problem(test: str) -> str | None:
    """Why ``tests/file.py::test_name`` is not a test of ours, or None."""
    file, one, name = test.partition("::")
    path = ROOT / file
    if not file.startswith("tests/") or not path.is_file():
        return f"no file `{file}`"
    if not one:
        return None if any(each.startswith("test_") for each in names_in(path)) else f"`{file}` has no tests"
    return None if name.replace("::", ".") in names_in(path) else f"`{file}` has no test `{name}`"


@cache
def commands() -> dict[str, frozenset[str]]:
    """Every command of ``semfed`` with its options, as the generated reference has them."""
    text = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    parts = re.split(r"^### `(semfed [^`]+)`$", text, flags=re.MULTILINE)[1:]
    return {
        " ".join(word for word in name.split() if word.islower()): frozenset(re.findall(r"`(--[a-z-]+)`", body))
        for name, body in zip(parts[::2], parts[1::2], strict=True)
    }


def query_problem(query: str) -> str | None:
    """Why a command line is none of ours, or None."""
    words = query.split()
    known = [name for name in commands() if words[: len(name.split())] == name.split()]
    if not known:
        return f"no command `{query}`"
    options = {word for word in words if word.startswith("--")}
    unknown = sorted(options - commands()[max(known, key=len)])
    return f"`{query}` has no option `{unknown[0]}`" if unknown else None


def row_problems(row: dict[str, Any], keys: set[str]) -> list[str]:
    """Everything that is wrong with one row."""
    problems = [f"lacks `{key}`" for key in sorted(keys - set(row))]
    problems += [f"has an unknown `{key}`" for key in sorted(set(row) - keys)]
    problems += [f"says nothing for `{key}`" for key in sorted(keys & set(row)) if row[key] in ("", [], None)]
    cited = [symbol_problem(symbol) for symbol in row.get("symbols") or ()]
    cited += [test_problem(test) for test in row.get("tests") or ()]
    cited.append(query_problem(row["audit_query"]) if row.get("audit_query") else None)
    return problems + [problem for problem in cited if problem]


def file_problems(path: Path, keys: set[str]) -> list[str]:
    """Everything that is wrong with one file, each with its row."""
    rows = yaml.safe_load(path.read_text(encoding="utf-8"))["rows"]
    ids = [row.get("id", "?") for row in rows]
    twice = [f"{path.name}: `{name}` stands twice" for name in sorted(set(ids)) if ids.count(name) > 1]
    return twice + [f"{path.name}: {row.get('id', '?')} {why}" for row in rows for why in row_problems(row, keys)]


def main() -> int:
    """Print every problem; 1 if there is one."""
    here = Path(__file__).parent
    problems = file_problems(here / "controls.yaml", CONTROL_KEYS) + file_problems(here / "threats.yaml", THREAT_KEYS)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
