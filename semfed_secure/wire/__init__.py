"""The messages of a round and their exact bytes."""
