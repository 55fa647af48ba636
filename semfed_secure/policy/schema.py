"""The JSON Schema of policy documents, for editors that complete and check while somebody writes."""

from __future__ import annotations

from semfed_secure.policy.document import PolicyDocument


def policy_schema() -> dict[str, object]:
    """JSON Schema (2020-12) of a policy file; `policies/schema.json` is this, checked in.

    An editor that accepts a file by it may still be wrong: ceilings are compared when the policy is loaded.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **PolicyDocument.model_json_schema(),
        "title": "semfed-secure policy document",
    }
