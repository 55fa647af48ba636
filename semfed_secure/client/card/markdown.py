"""The privacy card for people, as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from semfed_secure.client.card.words import ATTACKED, ATTACKER
from semfed_secure.columns import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Part = dict[str, Any]
_SOURCES = "the ledger and the policy of the site, and from nothing else. Its parts follow NIST SP 800-226."


def markdown_of(card: Mapping[str, Any]) -> str:
    """The card as Markdown.

    Guarantee: text from outside (names, purposes, parameters) stands in code spans that it cannot leave, so it adds
    no markup, no link and no HTML, whatever it holds.

    Args:
        card: What `document.card_of` made.
    """
    parts = [
        f"# Privacy card of {_code(card['site'])}",
        f"Made {_code(card['created'])} from the first {card['log']['entries']} entries of the audit log, {_SOURCES}",
        "## What is claimed",
        *_claims(card["populations"]),
        "## Mechanisms",
        *_mechanisms(card["mechanisms"]),
        "## What was composed",
        *_composition(card["populations"]),
        "## What was released, and who sees it",
        *_trust(card),
        "## Hazards",
        _list(card["hazards"]),
        "## Audit by attack",
        *_attacks(card["attacks"]),
        "## Where this comes from",
        *_provenance(card),
    ]
    return "\n\n".join(parts) + "\n"


def _claims(populations: Sequence[Part]) -> Iterator[str]:
    if not populations:
        yield "The ledger holds no charge: nothing that depends on private records was released."
    for one in populations:
        yield f"### {_code(one['population'])}"
        yield _list(
            [
                f"**ε = {one['epsilon']} at δ = {one['delta']}**, of a lifetime budget of ε = {one['epsilon_budget']}",
                f"unit: {one['unit_meaning']}",
                f"neighbours: {one['relation_meaning']}",
                f"accountant: {_code(one['accountant'])}, rounded up; entry {one['entry']} of the log says the same",
                f"composed: {one['scope']}",
            ]
        )
        yield ATTACKER
        rows = [[line["false_positive_rate"], line["true_positive_rate"]] for line in one["attacker"]]
        yield _table(["wrongly accused, at most", "found, at most"], rows)
        if one["budgets"]:
            yield "Budgets of the policy, each at its own δ:"
            names = ("period", "epsilon_spent", "epsilon_budget", "epsilon_remaining", "delta")
            rows = [[line[name] for name in names] for line in one["budgets"]]
            yield _table(["period", "ε spent", "ε budget", "ε left", "δ"], rows)


def _mechanisms(mechanisms: Sequence[Part]) -> Iterator[str]:
    if not mechanisms:
        yield "None was used."
    for one in mechanisms:
        yield f"### {_code(one['mechanism'])}"
        stated = (("privacy unit", "privacy_unit"), *((name, name) for name in ("sensitivity", "guarantee", "assumes")))
        yield _list(f"{name}: {one[key]}" for name, key in stated if key in one)


def _composition(populations: Sequence[Part]) -> Iterator[str]:
    rows = [
        [
            _code(one["population"]),
            charge["charge"],
            charge["at"],
            _code(charge["purpose"]),
            _code(charge["mechanism"]),
            ", ".join(_code(f"{name} {value}") for name, value in charge["parameters"].items()),
            charge["epsilon_alone"],
            charge["delta"],
            "yes" if charge["confirmed"] else "no",
        ]
        for one in populations
        for charge in one["charges"]
    ]
    if not rows:
        yield "Nothing."
        return
    heads = ["population", "charge", "at", "for", "mechanism", "parameters", "ε alone", "δ", "confirmed"]
    yield _table(heads, rows)


def _trust(card: Mapping[str, Any]) -> Iterator[str]:
    released = [
        [*(_code(row[name]) for name in ("kind", "aggregation", "mechanism")), row["bundles"], row["outputs"]]
        for row in card["releases"]
    ]
    if released:
        yield _table(["kind", "mode", "mechanism", "bundles", "outputs"], released)
    else:
        yield "Nothing was released."
    states = {True: "released in it", False: "available"}
    rows = [
        [
            row["aggregation"],
            states[row["used"]] if row["available"] else "not available",
            row["server_sees"],
            row["peers_see"],
        ]
        for row in card["trust"]
    ]
    yield _table(["mode", "this site", "the server sees", "peers see"], rows)


def _attacks(attacks: Sequence[Part]) -> Iterator[str]:
    if not attacks:
        yield "**Not audited.** There is no audit by attack in the log."
        return
    yield ATTACKED
    names = ("verdict", "mechanism", "epsilon_claimed", "epsilon_found", "canaries", "report_digest", "reason")
    rows = [[one["entry"], one["at"], *(_code(one[name]) for name in names)] for one in attacks]
    yield _table(["entry", "at", "verdict", "mechanism", "ε claimed", "ε at least", "canaries", "report", "why"], rows)


def _provenance(card: Mapping[str, Any]) -> Iterator[str]:
    log, policy = card["log"], card["policy"]
    lines = [
        f"audit log {_code(log['origin'])}: verified over {log['entries']} entries, root {_code(log['root'])}",
        f"its key has the digest {_code(log['key_digest'])} and "
        + ("came from outside the log" if log["key_was_given"] else "was named by the log itself"),
    ]
    if policy is not None:
        extends = f", extending {', '.join(map(_code, policy['extends']))}" if policy["extends"] else ""
        named = f"{_code(policy['id'])} version {_code(policy['version'])}, digest {_code(policy['digest'])}"
        lines.append(f"policy {named}{extends}; entry {policy['entry']} of the log put it into force")
    yield _list(lines)


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _code(text: object) -> str:
    """Text from outside as a code span: on one line, and without what could end the span or the table's cell."""
    return f"`{printable(text).replace('`', chr(92) + 'x60').replace('|', chr(92) + 'x7c')}`"
