"""Keys, hybrid signatures and sealing: the only importer of pyca/cryptography."""
