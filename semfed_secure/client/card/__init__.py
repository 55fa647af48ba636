"""The privacy card: what a site's releases reveal about one entity, told from its ledger, its policy and its log."""
