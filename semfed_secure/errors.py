"""Every error the SDK raises, with a stable code, split by whose fault it is.

::

    SemfedError
    |- ConfigurationError  SF1xx  the operator can fix it
    |- RefusedError        SF2xx  we refused on purpose
    |  |- PolicyDenied, BudgetExhausted, ApprovalNeeded
    |- PeerError           SF3xx  the other side sent something bad, or could not be reached
    |- ConsensusError      SF4xx  the round cannot close, or is not ready
    |- IntegrityError      SF5xx  our own records do not add up

The peer is told the code only, the audit log gets the fields, the operator reads the sentence.
Messages never hold private text, key bytes, or the differing part of a secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """Exit status of every ``semfed`` command."""

    OK = 0
    USAGE = 2
    POLICY = 10
    BUDGET = 11
    INTEGRITY = 12
    TRUST = 13
    APPROVAL = 14
    NOT_READY = 15
    TRANSPORT = 20
    INTERNAL = 70
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One row of the catalogue: what a code means and what to do about it."""

    title: str
    remedy: str
    exit_code: ExitCode
    retryable: bool = False


def _rows(exit_code: ExitCode, **rows: tuple[str, str]) -> dict[str, ErrorCode]:
    return {code: ErrorCode(title, remedy, exit_code) for code, (title, remedy) in rows.items()}


# One table, one line per code. Codes are never reused; `docs/reference/errors.md` is generated from it.
CATALOGUE: dict[str, ErrorCode] = {
    # -- SF10x configuration -------------------------------------------------------------------
    **_rows(
        ExitCode.USAGE,
        SF101=("configuration file is not valid", "correct the field that the message names"),
        SF102=("a file that the configuration names cannot be read", "check the path and its permissions"),
        SF103=("an optional part is not installed", "install the extra that the message names"),
        SF104=("input data is not valid", "correct the line that the message names"),
        SF105=("a value is outside its declared range", "use a value inside the range"),
        SF106=(
            "a model package cannot be downloaded",
            "check that pip reaches a package index, or fill the model cache",
        ),
        SF107=("a part of the demo stopped", "read its log, which the message or the fields name"),
        SF108=("Ray does not start", "read the server's log; the engine `local` does the same work without Ray"),
        # -- SF11x policy documents
        SF111=("policy document is not valid", "run `semfed policy lint` and correct the field"),
        SF112=("policy loosens what it extends", "a child policy may only tighten: lower the named limit"),
        SF113=("policy case file is not valid", "correct the case that the message names"),
        # -- SF12x keys
        SF121=("key file cannot be opened", "check the passphrase and that the file is whole"),
        SF122=("key file is readable by others", "set its mode to 0600"),
        SF123=("a file stands where a new one was to be written", "choose another place; keys are never overwritten"),
        SF124=(
            "TLS certificate or key cannot be used",
            "have `semfed federation issue-tls` issue a current one, for the key that lies beside it",
        ),
        SF125=(
            "signing key outside of the key files cannot be used",
            "check its address, the HSM or service, and the file of its PIN; wrong PINs lock an HSM",
        ),
        # -- SF13x models
        SF131=("model cannot be loaded", "give a directory or hub name that holds safetensors weights"),
        SF132=("model architecture is not supported for this use", "use a decoder-only causal language model"),
        SF133=("similarity was calibrated for another embedder", "run `semfed server calibrate` for these weights"),
        # -- SF14x privacy parameters
        SF141=("privacy parameter is not valid", "use a positive, finite value inside the stated range"),
        SF142=("records lack an entity id or are too few", "give every record an `entity_id`"),
        SF143=(
            "audit by attack says nothing: it could not have refuted the claim",
            "use more records for each of fewer canaries, or more steps; below epsilon 4 also more canaries",
        ),
        # -- SF15x storage
        SF151=("database cannot be opened", "check the URL, the disk and the permissions"),
    ),
    # -- SF2xx refused on purpose ---------------------------------------------------------------
    "SF201": ErrorCode(
        "policy denies this", "read the reasons; ask the policy's owner if the act is needed", ExitCode.POLICY
    ),
    "SF202": ErrorCode(
        "privacy budget does not cover this",
        "see `semfed budget show`; wait for the next period or lower the cost",
        ExitCode.BUDGET,
    ),
    "SF203": ErrorCode("approval is missing", "have the named roles approve this act", ExitCode.APPROVAL),
    "SF204": ErrorCode(
        "audit entries are younger than they must be kept",
        "name an earlier day; the policy, or --keep-days, says for how long entries are kept",
        ExitCode.POLICY,
    ),
    "SF205": ErrorCode(
        "a legal hold covers audit entries", "ask who put the hold on; `semfed audit lift` ends it", ExitCode.POLICY
    ),
    # -- SF301-SF315: admission refusals; the last two digits are the step of server/admission.py -----
    **_rows(
        ExitCode.TRUST,
        SF301=("message is larger than its limit", "send no more than the round's prompt set needs"),
        SF302=("message is not well-formed", "use an SDK of a supported version"),
        SF303=("message version is not supported", "use an SDK of a supported version"),
        SF304=("federation or round is unknown or not open", "join the current round"),
        SF305=("manifest differs from the one signed", "fetch the round's manifest again"),
        SF306=("sender is not a valid member for this role", "enrol, or ask the federation root why not"),
        SF307=("signatures do not both verify", "check the member's keys"),
        SF308=(
            "recipient is not the key of this round, or that key is destroyed",
            "seal to the key that the manifest carries",
        ),
        SF309=("another contribution of this member stands already", "one contribution per member and round"),
        SF310=("declared privacy is below the round's floor", "use a mechanism and budget that the manifest allows"),
        SF311=("ciphertext differs from the signed digest", "send the bytes that were signed"),
        SF312=("ciphertext cannot be opened", "seal with the context that the statement names"),
        SF313=("payload differs from its commitment", "send the payload that was committed to"),
        SF314=("outputs have the wrong shape or values", "answer exactly the prompt set of the round"),
        SF315=("content gate refused an output", "release no output that holds identifiers or control characters"),
        SF316=("what was committed to was not opened in time", "collect while the round is opening"),
        # -- SF32x what a client refuses of a server
        SF321=("server key is not the one that the roster lists", "stop; report it to the federation root"),
        SF322=("roster does not verify, has expired, or is older than one already seen", "ask the federation root"),
        SF323=("server log is not an extension of the one already seen", "stop; report it to the federation root"),
        SF324=("manifest does not verify or changed", "stop; report it to the federation root"),
        SF325=("consensus does not verify", "stop; report it to the federation root"),
        SF326=("receipt does not verify", "stop; report it to the federation root"),
        SF327=("prompt set differs from its digest", "fetch it again; report it if it stays so"),
        SF328=("log checkpoint or log proof does not verify", "do not rely on it; report it to the federation root"),
        SF329=("closed commitments do not verify or lack this site's own", "stop; report it to the federation root"),
        SF330=(
            "too few witnesses vouch for the server's log",
            "have more witnesses run `semfed client witness`; report it to the federation root if they did",
        ),
        SF331=("member record does not verify", "create the record again with all its keys"),
        SF332=("enrolment token is unknown here, or of another member", "ask the federation root for a token"),
        SF333=("enrolment token has expired", "ask the federation root for a new token"),
        SF334=("enrolment token was used before", "ask the federation root who used it, and for a new token"),
        SF335=(
            "new keys are vouched for by nobody",
            "send a request that was made with a token, or rotate with the key before",
        ),
        SF336=(
            "member record says more than was granted: a role, domain, jurisdiction, log or suite",
            "create the record as invited, or ask the federation root for an invitation to what is new",
        ),
    ),
    "SF341": ErrorCode(
        "server cannot be reached", "check the network and try again", ExitCode.TRANSPORT, retryable=True
    ),
    "SF342": ErrorCode("server refused the request", "read the code it gave", ExitCode.TRANSPORT),
    "SF343": ErrorCode("model endpoint failed", "check the endpoint and try again", ExitCode.TRANSPORT, retryable=True),
    # -- SF344-SF348 connections
    **_rows(
        ExitCode.TRUST,
        SF344=(
            "the server's TLS certificate, or its TLS, is not as demanded",
            "correct `server.ca` and `server.url`, or ask the server's operator",
        ),
        SF345=("the server refused this side's TLS certificate", "have a current one issued; name it in `[server]`"),
        SF346=("TLS certificate names another member than the sender", "use the certificate of the member that signs"),
    ),
    "SF347": ErrorCode("too many requests", "wait as long as `Retry-After` says", ExitCode.TRANSPORT, retryable=True),
    "SF348": ErrorCode("server is busy or stopping", "try again in a moment", ExitCode.TRANSPORT, retryable=True),
    # -- SF349-SF351 receivers of audit exports, timestamp authorities
    "SF349": ErrorCode(
        "receiver of an audit export cannot be reached, or does not confirm that it has everything",
        "check the network and the receiver, and export again: with a cursor nothing is left out",
        ExitCode.TRANSPORT,
        retryable=True,
    ),
    "SF350": ErrorCode(
        "receiver of an audit export has another TLS certificate than demanded, or refuses ours",
        "correct the address and `--ca`, or give the certificate that it demands",
        ExitCode.TRUST,
    ),
    "SF351": ErrorCode(
        "timestamp authority gave no timestamp",
        "check its address; try again, or ask another",
        ExitCode.TRANSPORT,
        retryable=True,
    ),
    "SF352": ErrorCode(
        "candidates are not those that the round of proposals published, or one holds an identifier",
        "stop; report it to the federation root",
        ExitCode.TRUST,
    ),
    # -- SF4xx rounds ---------------------------------------------------------------------------
    "SF401": ErrorCode("round is not ready for this step", "try again later", ExitCode.NOT_READY, retryable=True),
    "SF402": ErrorCode("too few admitted contributions", "open another round with more clients", ExitCode.NOT_READY),
    "SF403": ErrorCode("round was aborted", "read the reason; join the next round", ExitCode.NOT_READY),
    "SF404": ErrorCode("step does not follow from the round's state", "run the steps in order", ExitCode.NOT_READY),
    "SF405": ErrorCode(
        "workers were lost again and again",
        "look for what ends them, such as too little memory; use fewer workers or fewer prompts per shard",
        ExitCode.NOT_READY,
        retryable=True,
    ),
    # -- SF5xx integrity ------------------------------------------------------------------------
    **_rows(
        ExitCode.INTEGRITY,
        # -- SF501-SF518: what was done to an audit log; docs/how-to/audit.md says more
        SF501=(
            "entries of the audit log were changed after they were written",
            "stop; keep the file; tell the security team; compare with a copy that others hold",
        ),
        SF502=("audit log cannot be written", "nothing was released; free the disk or restore the permissions"),
        SF503=(
            "a log checkpoint is not what the log's key signed",
            "check that the key is the log's own; if it is, stop, keep the file, tell the security team",
        ),
        SF504=(
            "audit log was set back: others hold a signed log checkpoint of more entries",
            "stop; keep the file; ask who restored a backup, and restore the newest copy",
        ),
        SF505=("audit log was forked: two histories for the same entries", "stop; keep both; tell the federation root"),
        SF506=(
            "audit log tells one round twice: two lists of commitments, or two results",
            "stop; keep the log; tell every member",
        ),
        SF507=(
            "federation root's log does not know the newest roster",
            "restore the newest copy of its root.db; if there is none, found a new root",
        ),
        SF508=(
            "entries were taken out of the audit log",
            "stop; keep the file; tell the security team; look for the entries in a backup or export",
        ),
        SF509=(
            "entries of the audit log changed places",
            "stop; keep the file; tell the security team; the order that was signed is the one by their own numbers",
        ),
        SF510=(
            "an entry stands in the audit log twice",
            "stop; keep the file; tell the security team; what stood in its place is gone",
        ),
        SF511=("budget ledger does not add up", "stop; keep the database; tell the security team"),
        SF512=(
            "the end of the audit log was cut off",
            "stop; keep the file; look for the last entries in a backup or export",
        ),
        SF513=(
            "what is computed from the audit log was changed; its entries were not",
            "nothing of the record is lost: run `semfed audit fsck --repair`, and ask who writes to the file",
        ),
        SF514=(
            "entries were added to the audit log that nobody signed",
            "stop; keep the file; do not rely on the added entries; ask who writes to the file",
        ),
        SF515=(
            "audit log is signed by its own key, but its witnesses do not vouch for it",
            "ask the witnesses for the checkpoint they saw last; if it differs, the log's key was stolen",
        ),
        SF516=(
            "signed checkpoints were removed from the audit log",
            "stop; keep the file; ask members and witnesses for the checkpoints they hold",
        ),
        SF517=(
            "a signed checkpoint of the audit log stands in the place of another",
            "stop; keep the file; ask members and witnesses for the checkpoints they hold",
        ),
        SF518=(
            "a file of an exported audit log is missing or cut short",
            "export or copy it again; if that fails too, verify the database it came from",
        ),
        SF519=(
            "the clock stands before the newest entry of the audit log",
            "set the clock right; entries keep their order by number, and spent budgets stay spent",
        ),
        SF520=(
            "a timestamp does not vouch for the checkpoint it lies beside",
            "ask for the files again from who keeps them; check whose certificates were given",
        ),
        SF521=(
            "model files differ from their pinned digest",
            "restore the pinned files, or pin the new digest on purpose",
        ),
        SF522=("policy differs from the pinned digest", "restore the pinned policy, or pin the new digest on purpose"),
        SF523=(
            "content of audit entries is missing, and no signed entry says that it was removed",
            "stop; keep the file; tell the security team; look for the entries in a backup or export",
        ),
        SF524=(
            "an entry of the audit log about removed content does not fit the log",
            "stop; keep the file; tell the security team; ask who pruned the log, and under which policy",
        ),
        SF531=("stored state is damaged", "restore the state directory from backup"),
        SF551=(
            "logs of several members do not agree: one lacks or denies what another proves",
            "keep every copy; read what is named; ask the member whose log lacks it for its newest copy",
        ),
        SF541=(
            "an attack found more than the configuration claims",
            "stop releasing; keep the report; tell the security team",
        ),
    ),
}


class SemfedError(Exception):
    """Base of every error; ``code`` is stable, ``fields`` are typed facts for the audit log.

    Args:
        code: A key of `CATALOGUE` that belongs to this family.
        message: One sentence for the operator, expectation before observation.
        fields: JSON-ready facts, never private content.
    """

    family: ClassVar[str] = "SF"

    def __init__(self, code: str, message: str, /, **fields: object) -> None:
        """Refuse a code that is not in the catalogue or belongs to another family."""
        if code not in CATALOGUE or not code.startswith(self.family):
            raise ValueError(f"{code} is not a code of {type(self).__name__}")
        super().__init__(message)
        self.code = code
        self.message = message
        self.fields = fields

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling (process pools) with code and fields."""
        return (_rebuild, (type(self), self.code, self.message, self.fields))

    def __str__(self) -> str:
        """``[SF202] sentence``."""
        return f"[{self.code}] {self.message}"

    @property
    def remedy(self) -> str:
        """What the operator can do about it."""
        return CATALOGUE[self.code].remedy

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later without a change."""
        return CATALOGUE[self.code].retryable

    @property
    def exit_code(self) -> ExitCode:
        """Exit status of a command that ends with this error."""
        return CATALOGUE[self.code].exit_code


def _rebuild(kind: type[SemfedError], code: str, message: str, fields: dict[str, object]) -> SemfedError:
    return kind(code, message, **fields)


class ConfigurationError(SemfedError):
    """The operator can fix it."""

    family = "SF1"


class RefusedError(SemfedError):
    """We refused on purpose."""

    family = "SF2"


class PolicyDenied(RefusedError):  # noqa: N818 - named after the answer, not the accident
    """The policy denies the act; ``fields["reasons"]`` lists every failing reason."""


class BudgetExhausted(RefusedError):  # noqa: N818 - likewise
    """The act would overspend; ``fields`` hold ``remaining`` and ``cost`` as decimal strings."""


class ApprovalNeeded(RefusedError):  # noqa: N818 - likewise
    """The act needs approvals that are missing."""


class PeerError(SemfedError):
    """The other side sent something bad, or could not be reached."""

    family = "SF3"


class ConsensusError(SemfedError):
    """The round cannot close, or is not ready."""

    family = "SF4"


class IntegrityError(SemfedError):
    """Our own records do not add up."""

    family = "SF5"
