"""Say what only code can say about the build: `policies/` and `examples/` travel as data of the package.

They lie at the top of the repository, where the people who review or try them look; in a wheel they are the files of
`semfed_secure.policy.shipped` and `semfed_secure.demo.shipped`, where `semfed_secure.policy.packs` and
`semfed_secure.demo.examples` find them. Everything else about the build stands in `pyproject.toml`.
"""

from __future__ import annotations

from setuptools import find_namespace_packages, setup

SHIPPED = {"semfed_secure.policy.shipped": "policies", "semfed_secure.demo.shipped": "examples"}

setup(
    packages=[
        *find_namespace_packages(include=["semfed_secure*"]),
        *SHIPPED,
        *(f"{name}.{inner}" for name, folder in SHIPPED.items() for inner in find_namespace_packages(folder)),
    ],
    package_dir=SHIPPED,
)
