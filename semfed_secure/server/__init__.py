"""The consensus server's side of a round."""
