"""The semfed command: one module per role."""
