"""Member records, the federation root and the signed roster."""
