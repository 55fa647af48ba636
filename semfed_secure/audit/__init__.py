"""The record of what was permitted, refused, spent and released, provable to an outsider."""
