"""Privacy-hardened semantic consensus for federated fine-tuning of language models."""
