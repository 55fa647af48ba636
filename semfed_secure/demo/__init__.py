"""A whole federation on one machine, driven by the public commands and the public library only."""
