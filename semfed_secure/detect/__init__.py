"""Detectors of personal and financial identifiers in text that would leave a site."""
