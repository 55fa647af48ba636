"""One module per version of the tables, never edited after its release."""
