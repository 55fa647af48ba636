"""The house rules that a machine can hold: docstrings, codes, sizes, imports, the guard against the outside."""

from __future__ import annotations

import ast
import os
import re
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from semfed_secure.errors import CATALOGUE

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "semfed_secure"
LONGEST_FILE, LONGEST_FUNCTION = 450, 60
CODE = re.compile(r"\bSF\d{3}\b")
IMPORT_SECONDS = 0.3


def python_files(*folders: str) -> list[Path]:
    """Every Python file of these folders, without caches."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    """The parsed file."""
    return ast.parse(path.read_text(encoding="utf-8"))


SOURCES = python_files("semfed_secure")
EVERYTHING = python_files("semfed_secure", "tests", "docs", "examples", "compliance", "benchmarks")


def relative(path: Path) -> str:
    """The path as a test id."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_every_module_says_its_responsibility_in_one_line(path: Path) -> None:
    """The first line of the docstring is a sentence of its own."""
    lines = (ast.get_docstring(tree(path)) or "").splitlines()
    assert lines
    assert lines[0].strip()
    assert len(lines) == 1 or not lines[1].strip()


@pytest.mark.parametrize("path", EVERYTHING, ids=relative)
def test_no_file_is_longer_than_a_reader_bears(path: Path) -> None:
    """450 lines a file; functions of the product 60."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
    if path in SOURCES:
        functions = [n for n in ast.walk(tree(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        long = [f.name for f in functions if (f.end_lineno or f.lineno) - f.lineno + 1 > LONGEST_FUNCTION]
        assert not long


@pytest.mark.parametrize("path", [p for p in EVERYTHING if p.name.startswith("test_")], ids=relative)
def test_every_test_says_what_is_promised(path: Path) -> None:
    """A test without a docstring promises nothing."""
    functions = [n for n in ast.walk(tree(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert not [f.name for f in functions if f.name.startswith("test_") and not ast.get_docstring(f)]


def codes_in(paths: list[Path]) -> set[str]:
    """Every error code that these files name in a string, outside docstrings and the catalogue."""
    return {
        code
        for path in paths
        if path != PACKAGE / "errors.py"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for code in CODE.findall(node.value)
    }


def test_every_code_in_the_source_is_in_the_catalogue() -> None:
    """No error without a meaning and a remedy."""
    assert codes_in(SOURCES) <= set(CATALOGUE)


def test_every_code_of_the_catalogue_is_used() -> None:
    """No meaning without an error: an unused code would be a promise that nothing keeps."""
    assert set(CATALOGUE) <= codes_in(SOURCES)


def test_importing_the_package_is_quick_and_opens_no_connection() -> None:
    """`import semfed_secure` loads neither the model stack nor a server, and asks no network."""
    code = (
        "import sys, time; start = time.perf_counter();"
        "sys.addaudithook(lambda e, a: e.startswith('socket.') and sys.exit('socket: ' + e));"
        "import semfed_secure; seconds = time.perf_counter() - start;"
        "heavy = {'torch', 'transformers', 'fastapi', 'sqlalchemy', 'typer'} & set(sys.modules);"
        "sys.exit(f'{heavy} {seconds}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


OUTSIDE = [("192.0.2.1", 9), ("2001:db8::1", 9, 0, 0)]  # addresses reserved for documentation: nobody is there


@pytest.mark.parametrize("address", OUTSIDE, ids=["IPv4", "IPv6"])
def test_the_guard_refuses_a_connection_to_the_outside(address: tuple[object, ...]) -> None:
    """The guard bites before the first packet."""
    family = socket.AF_INET6 if len(address) > 2 else socket.AF_INET
    with socket.socket(family) as outside, pytest.raises(BaseException, match="loopback only"):
        outside.connect(address)
    with socket.socket(family, socket.SOCK_DGRAM) as outside, pytest.raises(BaseException, match="loopback only"):
        outside.sendto(b"x", address)


def test_the_guard_refuses_to_ask_for_a_name() -> None:
    """A look-up would already tell somebody."""
    with pytest.raises(BaseException, match="loopback only"):
        socket.getaddrinfo("semfed.example", 443)


def test_the_guard_lets_loopback_through() -> None:
    """What stays on this machine is what the tests need."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
        server.accept()[0] as accepted,
    ):
        assert accepted.getpeername() == client.getsockname()


def test_child_processes_are_guarded_too() -> None:
    """A server or client that a test starts cannot leave either."""
    code = "import socket; socket.socket().connect(('192.0.2.1', 9))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode != 0
    assert "loopback only" in done.stderr


def test_the_commands_of_the_readme_exist() -> None:
    """Every `make` target and every `semfed` command that the README shows is there."""
    from semfed_secure.cli import SUB_COMMANDS

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    assert set(re.findall(r"^\s+make ([a-z-]+)", readme, flags=re.MULTILINE)) <= targets
    assert set(re.findall(r"`semfed ([a-z][a-z-]*)", readme)) <= set(SUB_COMMANDS)


def test_links_between_documents_lead_somewhere() -> None:
    """A relative link in a Markdown file names a file that exists."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    link = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
    links = [(page, target) for page in pages for target in link.findall(page.read_text(encoding="utf-8"))]
    assert links
    assert not [f"{relative(page)}: {target}" for page, target in links if not (page.parent / target).exists()]


def test_the_generated_reference_pages_are_current() -> None:
    """`docs/generate.py --check` finds nothing to write."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]])},
    )
    assert (done.returncode, done.stdout) == (0, "")
