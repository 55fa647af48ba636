"""Local and remote language models: the only importer of the model stack."""
