"""The log in the formats of other systems: always derived from the entries, never the evidence itself."""
