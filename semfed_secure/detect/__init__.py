"""Detectors of personal and financial identifiers: a seat belt, never the guarantee."""

from __future__ import annotations

from semfed_secure.detect.findings import Detector, Finding, Kind, summarise
from semfed_secure.detect.identifiers import DETECTOR, scan

__all__ = ["DETECTOR", "Detector", "Finding", "Kind", "scan", "summarise"]
