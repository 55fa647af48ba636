"""Say what only code can say about the build: the top-level `policies/` travel as data of the policy room.

Policies lie at the top of the repository, where the people who review them look; in a wheel they are the files of
`semfed_secure.policy.shipped`, where `semfed_secure.policy.packs` finds them. Everything else about the build stands in
`pyproject.toml`.
"""

from __future__ import annotations

from setuptools import find_namespace_packages, setup

SHIPPED = "semfed_secure.policy.shipped"

setup(
    packages=[
        *find_namespace_packages(include=["semfed_secure*"]),
        SHIPPED,
        *(f"{SHIPPED}.{folder}" for folder in find_namespace_packages("policies")),
    ],
    package_dir={SHIPPED: "policies"},
)
