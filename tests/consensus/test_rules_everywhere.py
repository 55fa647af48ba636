"""Whole numbers give the same bytes whatever the machine's vector instructions and its BLAS."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.consensus.test_rules import RULES

MACHINES = [
    {},
    {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX"},
    {"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX2 FMA3"},
]
"""Settings under which numpy and its BLAS take the ways of older processors; those it does not know are ignored."""
DIGESTS = "from tests.consensus import test_rules_everywhere as t; print(t.digests())"


def digests() -> dict[str, str]:
    """SHA-256 of what each rule makes of bundles of int16, with rows that are equal, nearly equal and far apart."""
    chance = np.random.default_rng(7)
    bundles = chance.integers(-(2**14), 2**14, (40, 11, 96), dtype=np.int16)
    bundles[:, 3] = bundles[:, 2]
    bundles[:, 5] = bundles[:, 4] // 2 * 2
    return {
        name: hashlib.sha256(rule(bundles).tobytes()).hexdigest()
        for name, rule in RULES.items()
        if name != "spherical_median"  # its angles are the machine's library's
    }


@pytest.mark.parametrize("machine", MACHINES)
def test_the_int16_path_is_byte_identical_on_every_machine(machine: dict[str, str]) -> None:
    """Another process, told to compute as an older processor does, finds the same bytes."""
    environment = {**os.environ, **machine, "PYTHONWARNINGS": "ignore", "PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run([sys.executable, "-c", DIGESTS], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(digests())
