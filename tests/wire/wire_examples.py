"""One valid example of every message, and a Hypothesis strategy for each."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import strategies as st

from semfed_secure.ids import sha256
from semfed_secure.units import Aggregation, Mechanism, OutputKind, PrivacyDeclaration, PrivacyUnit, Relation
from semfed_secure.wire.messages import (
    ITEM_TYPES,
    CandidateSource,
    Commitments,
    Consensus,
    ConsensusRule,
    Contribution,
    ContributionStatement,
    Decoding,
    Embedder,
    Group,
    Outcome,
    Payload,
    PrivacyFloor,
    PromptResult,
    PromptStatus,
    Receipt,
    RoundManifest,
)
from semfed_secure.wire.prompts import Prompt, PromptSet, folded

KEY_ID = "sha256:" + "ab" * 32

PROMPT_SET = PromptSet(
    "departments",
    (
        Prompt("p1", "broken wrist"),
        Prompt("p2", "chest pain — sudden", ("emergency", "circulatory"), "cardiology"),
    ),
    ("injury", "circulatory"),
)
MANIFEST = RoundManifest(
    federation="hospitals",
    round_id="round-7",
    nonce=bytes(range(32)),
    prompt_set_digest=PROMPT_SET.digest,
    prompt_count=2,
    kind=OutputKind.TEXT,
    aggregation=Aggregation.DIRECT,
    embedder=Embedder("all-MiniLM-L6-v2", sha256(b"weights"), 384),
    decoding=Decoding(24),
    rule=ConsensusRule("semantic_group", 5, 600_000, 100_000, 750_000, 250_000, "agreement"),
    dp_floor=PrivacyFloor("8.0", "0.00001", PrivacyUnit.ENTITY, Relation.ADD_OR_REMOVE_ONE, (Mechanism.DP_SGD,)),
    roster_digest=sha256(b"roster"),
    roster_sequence=8,
    policy_digest=None,
    recipient_key=bytes(1_250),
    opens_at_ms=1_790_000_000_000,
    closes_at_ms=1_790_000_600_000,
    opening_ends_at_ms=1_790_001_200_000,
    log_checkpoint="hub.example/hospitals/hub\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n— x y\n",
)
GROUPS = (Group("finance", ("east", "west")), Group("healthcare", ("north",)))
PROPOSALS = replace(MANIFEST.rule, name="proposals", max_candidates=8)
STATEMENT = ContributionStatement(
    manifest_digest=MANIFEST.digest,
    federation="hospitals",
    round_id="round-7",
    nonce=MANIFEST.nonce,
    prompt_set_digest=PROMPT_SET.digest,
    kind=OutputKind.TEXT,
    sender="north",
    signing_key_id=KEY_ID,
    recipient_key_id=KEY_ID,
    created_at_ms=1_790_000_100_000,
    commitment=bytes(32),
    ciphertext_digests=(sha256(b"sealed"),),
    item_count=2,
    dtype="utf-8",
    scale=1,
    privacy=PrivacyDeclaration(
        Mechanism.DP_SGD,
        Decimal("7.84"),
        Decimal("0.00001"),
        PrivacyUnit.ENTITY,
        Relation.ADD_OR_REMOVE_ONE,
        "rdp",
        {"noise_multiplier": "0.91", "steps": "400"},
    ),
    policy_digest=sha256(b"policy"),
    log_checkpoint="north.example/hospitals/north\n9\n…",
)
PAYLOAD = Payload(salt=bytes(range(32)), kind=OutputKind.TEXT, texts=("fracture of wrist", None))
VOTES = Payload(salt=bytes(range(32)), kind=OutputKind.VOTES, votes=(1, -1))
CONTRIBUTION = Contribution(b"signed statement", (b"sealed",))
RECEIPT = Receipt(
    statement_digest=STATEMENT.digest,
    round_id="round-7",
    outcome=Outcome.REJECTED,
    code="SF310",
    log_index=41,
    log_checkpoint="hub.example/hospitals/hub\n42\n…",
    inclusion_proof=(bytes(32), sha256(b"sibling")),
)
COMMITMENTS = Commitments(
    manifest_digest=MANIFEST.digest,
    round_id="round-7",
    statements=tuple(sorted((STATEMENT.digest, sha256(b"another statement")))),
    log_index=43,
    log_checkpoint="hub.example/hospitals/hub\n44\n…",
    inclusion_proof=(sha256(b"sibling"),),
)
CONSENSUS = Consensus(
    manifest_digest=MANIFEST.digest,
    round_id="round-7",
    results=(
        (
            PromptResult(PromptStatus.AGREED, "fracture of wrist", 800_000, 600_000),
            PromptResult(PromptStatus.CONTESTED, None, 400_000, 0),
        ),
    ),
    batch_root=sha256(b"batch"),
    commitments_root=sha256(b"commitments"),
    admitted_counts=(5,),
    rejections=(("SF310", 1), ("SF312", 2)),
    log_checkpoint="hub.example/hospitals/hub\n50\n…",
)

names = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True)
digests = st.binary(min_size=32, max_size=32)
key_ids = digests.map(lambda digest: f"sha256:{digest.hex()}")
ppm = st.integers(0, 1_000_000)
sequences = st.integers(1, 2**53 - 1)
instants = st.integers(0, 253_402_300_799_998)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
labels = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
shown = st.characters(exclude_categories=["C"]) | st.sampled_from("\n\t")
readable = st.builds("{}{}{}".format, st.text(shown), st.characters(categories=["L", "N", "P"]), st.text(shown))
some_candidates = st.lists(readable, min_size=1, max_size=4, unique_by=folded).map(tuple)
candidates = some_candidates | st.just(())
decimals = st.decimals(0, 10**8, allow_nan=False, allow_infinity=False, places=9)
kinds = st.sampled_from(OutputKind)

prompt_sets = st.builds(
    PromptSet,
    names,
    st.lists(
        st.builds(Prompt, st.from_regex(r"[\x21-\x7e]{1,12}", fullmatch=True), readable, candidates, st.none() | names),
        min_size=1,
        max_size=5,
        unique_by=lambda prompt: prompt.id,
    ).map(tuple),
    candidates,
)
embedders = st.builds(Embedder, st.from_regex(r"[\x21-\x7e]{1,40}", fullmatch=True), digests, st.integers(1, 16_384))
rules = st.builds(
    ConsensusRule,
    st.just("weighted_plurality"),
    st.integers(1, 1_000),
    ppm,
    ppm,
    ppm,
    ppm,
    st.sampled_from(["equal", "agreement", "anchored"]),
)
proposals = st.builds(replace, rules, name=st.just("proposals"), max_candidates=st.integers(1, 64))
sources = st.builds(CandidateSource, names, digests, digests)


@st.composite
def groups(draw) -> tuple[Group, ...]:
    """Two groups or more."""
    called = sorted(draw(st.sets(names, min_size=2, max_size=5)))
    members = draw(st.lists(names, min_size=len(called), max_size=12, unique=True))
    return tuple(Group(name, tuple(sorted(members[place :: len(called)]))) for place, name in enumerate(called))


floors = st.builds(
    PrivacyFloor,
    decimals.map(lambda value: format(value, "f")) | st.just("Infinity"),
    decimals.map(lambda value: format(value, "f")),
    st.sampled_from(PrivacyUnit),
    st.sampled_from(Relation),
    st.lists(st.sampled_from(Mechanism), min_size=1, max_size=3).map(tuple),
)


@st.composite
def manifests(draw) -> RoundManifest:
    """Any valid manifest."""
    opens = draw(st.integers(0, 253_402_300_799_990))
    closes = draw(st.integers(opens + 1, 253_402_300_799_998))
    kind = draw(kinds)
    text = kind is OutputKind.TEXT
    ends = draw(st.integers(closes + 1, 253_402_300_799_999)) if text else None
    rule = draw(rules | proposals if text else rules)
    grouped = draw(st.just(()) if rule.name == "proposals" else st.just(()) | groups())
    return RoundManifest(
        federation=draw(names),
        round_id=draw(names),
        nonce=draw(digests),
        prompt_set_digest=draw(digests),
        prompt_count=draw(st.integers(1, 20_000 // max(1, len(grouped)))),
        kind=kind,
        aggregation=draw(st.sampled_from(Aggregation)),
        embedder=draw(embedders if rule.name == "proposals" else st.none() | embedders),
        decoding=Decoding(draw(st.integers(1, 1_024))),
        rule=rule,
        dp_floor=draw(floors),
        roster_digest=draw(digests),
        roster_sequence=draw(sequences),
        policy_digest=draw(st.none() | digests),
        recipient_key=draw(st.binary(min_size=32, max_size=64)),
        opens_at_ms=opens,
        closes_at_ms=closes,
        opening_ends_at_ms=ends,
        log_checkpoint=draw(texts),
        candidates_from=draw(st.none() | sources) if kind is OutputKind.VOTES else None,
        groups=grouped,
    )


privacies = st.builds(
    PrivacyDeclaration,
    st.sampled_from(Mechanism),
    decimals | st.just(Decimal("Infinity")),
    decimals,
    st.sampled_from(PrivacyUnit),
    st.sampled_from(Relation),
    st.text("abc-", max_size=32),
    st.dictionaries(st.from_regex("[a-z0-9_]{1,12}", fullmatch=True), st.text("0123456789.", max_size=12), max_size=4),
)
statements = st.builds(
    ContributionStatement,
    manifest_digest=digests,
    federation=names,
    round_id=names,
    nonce=digests,
    prompt_set_digest=digests,
    kind=kinds,
    sender=names,
    signing_key_id=key_ids,
    recipient_key_id=key_ids,
    created_at_ms=instants,
    commitment=digests,
    ciphertext_digests=st.lists(digests, min_size=1, max_size=2).map(tuple),
    item_count=st.integers(1, 20_000),
    dtype=st.sampled_from(sorted(set(ITEM_TYPES.values()))),
    scale=st.integers(1, 32_767),
    privacy=privacies,
    policy_digest=digests,
    log_checkpoint=texts,
)
payloads = st.builds(
    Payload,
    salt=digests,
    kind=st.just(OutputKind.VOTES),
    votes=st.lists(st.integers(-1, 999), min_size=1, max_size=40).map(tuple),
) | st.builds(
    Payload,
    salt=digests,
    kind=st.just(OutputKind.TEXT),
    texts=st.lists(st.none() | texts, min_size=1, max_size=10).map(tuple),
)
contributions = st.builds(
    Contribution,
    st.binary(min_size=1, max_size=50),
    st.lists(st.binary(min_size=1, max_size=50), max_size=2).map(tuple),
)
codes = st.from_regex("SF[1-5][0-9]{2}", fullmatch=True)
receipts = st.one_of(
    st.builds(
        Receipt,
        statement_digest=digests,
        round_id=names,
        outcome=st.just(outcome),
        code=code,
        log_index=st.integers(0, 2**53 - 1),
        log_checkpoint=texts,
        inclusion_proof=st.lists(digests, max_size=5).map(tuple),
    )
    for outcome, code in ((Outcome.COMMITTED, st.none()), (Outcome.ADMITTED, st.none()), (Outcome.REJECTED, codes))
)
commitments = st.builds(
    Commitments,
    manifest_digest=digests,
    round_id=names,
    statements=st.sets(digests, max_size=6).map(lambda found: tuple(sorted(found))),
    log_index=st.integers(0, 2**53 - 1),
    log_checkpoint=texts,
    inclusion_proof=st.lists(digests, max_size=5).map(tuple),
)
results = st.one_of(
    st.builds(PromptResult, st.just(PromptStatus.AGREED), texts, ppm, ppm),
    st.builds(PromptResult, st.sampled_from([PromptStatus.CONTESTED, PromptStatus.TOO_FEW]), st.none(), ppm, ppm),
    st.builds(PromptResult, st.just(PromptStatus.PROPOSED), st.none(), ppm, ppm, some_candidates),
)


@st.composite
def consensuses(draw) -> Consensus:
    """Any valid consensus, of one group or several."""
    prompts, parts = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    rejections = draw(st.dictionaries(codes, st.integers(1, 1_000), max_size=4))
    return Consensus(
        manifest_digest=draw(digests),
        round_id=draw(names),
        results=tuple(tuple(draw(st.lists(results, min_size=prompts, max_size=prompts))) for _ in range(parts)),
        batch_root=draw(digests),
        commitments_root=draw(digests),
        admitted_counts=tuple(draw(st.lists(st.integers(0, 333), min_size=parts, max_size=parts))),
        rejections=tuple(sorted(rejections.items())),
        log_checkpoint=draw(texts),
    )
