"""How far outsiders vouch for a log: cosignatures of witnesses whose keys an auditor holds, counted by size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from semfed_secure.audit.notes import Checkpoint, NoteSignature, verify_cosignature
from semfed_secure.crypto.log_keys import LogVerificationKey
from semfed_secure.errors import ConfigurationError, PeerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Witnesses:
    """The witnesses that an auditor trusts, and how many of them must agree.

    Attributes:
        keys: Their verification keys, by name.
        quorum: How many of them must have cosigned one and the same checkpoint.
    """

    keys: Mapping[str, LogVerificationKey]
    quorum: int

    @classmethod
    def parse(cls, keys: Sequence[str], quorum: int | None = None) -> Witnesses:
        """Read verification keys as they stand in member records; without a quorum all of them must agree.

        Raises:
            ConfigurationError: ``SF104`` one is no log's key with ML-DSA-44, or two have one name; ``SF105`` more are
                asked for than there are.
        """
        try:
            parsed = {key.name: key for key in map(LogVerificationKey.parse, keys)}
        except PeerError as error:
            raise ConfigurationError("SF104", "the key of a witness is not a log's verification key") from error
        if len(parsed) != len(keys) or any(key.mldsa44 is None for key in parsed.values()):
            raise ConfigurationError("SF104", "each witness has one key, which names ML-DSA-44, and a name of its own")
        wanted = len(parsed) if quorum is None else quorum
        if not 0 <= wanted <= len(parsed) or (parsed and not wanted):
            raise ConfigurationError("SF105", f"a quorum of 1 to {len(parsed)} witnesses was expected, got {wanted}")
        return cls(parsed, wanted)

    def cosigned_at(self, checkpoint: Checkpoint, signature: NoteSignature) -> int | None:
        """The second at which one of them vouched for exactly this checkpoint; None if none of them did."""
        key = self.keys.get(signature.name)
        if key is None:
            return None
        try:
            return verify_cosignature(checkpoint, signature, key)
        except PeerError:
            return None

    def reach(
        self, origin: str, roots: Mapping[int, bytes], lines: Iterable[tuple[int, NoteSignature]]
    ) -> tuple[int, int]:
        """Up to which size, and at which second, a quorum vouched for one checkpoint; zeros if it never did.

        Args:
            origin: The log's name.
            roots: The root of the tree at each size that the log signed.
            lines: Cosignatures, each with the size of the checkpoint that it stood under.
        """
        said: dict[int, dict[str, int]] = {}
        for size, signature in lines:
            if size in roots:
                at = self.cosigned_at(Checkpoint(origin, size, roots[size]), signature)
                if at is not None:
                    said.setdefault(size, {})[signature.name] = at
        reached = [size for size, names in said.items() if len(names) >= self.quorum]
        if not reached or not self.quorum:
            return 0, 0
        return max(reached), sorted(said[max(reached)].values())[-self.quorum]


NOBODY = Witnesses({}, 0)
"""Nobody has to vouch."""
