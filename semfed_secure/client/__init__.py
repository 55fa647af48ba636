"""The site's side of a round."""
