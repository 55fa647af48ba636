"""Where a member sits: its real site on disk, its line to the server, and what came of its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from semfed_secure.errors import PeerError, SemfedError
from semfed_secure.identity.member_files import MemberKeys, load_member_keys
from semfed_secure.testing import SiteSettings, TableModel
from semfed_secure.testing.federation import PASSPHRASE
from semfed_secure.units import Mechanism
from semfed_secure.wire.cose import parse_signed, signed_limits
from semfed_secure.wire.messages import RECEIPT_LIMITS, PromptStatus, parse_receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from semfed_secure.client.session import Client, Round
    from semfed_secure.client.transport import Transport
    from semfed_secure.ids import RoundId
    from tests.simulator.world import World

ATTEMPTS = 12
"""How often an honest operator starts a step again that ended with a fault of the network."""


class Seat:
    """One member of a world.

    Steps of an honest member go through `Client`, joined anew each time as the commands do; what a liar sends past it
    goes through `post`, which holds the server to the answer that the liar must get.
    """

    def __init__(self, world: World, name: str) -> None:
        """Sit down; nothing is opened yet."""
        self.world, self.name, self.random = world, name, world.random
        self.line: Transport = world.line(name)
        self.ended: dict[tuple[RoundId, str], str] = {}
        self.labels: dict[RoundId, tuple[str | None, ...]] = {}
        self._client: Client | None = None
        self._keys: MemberKeys | None = None

    @property
    def keys(self) -> MemberKeys:
        """The member's own private keys."""
        if self._keys is None:
            self._keys = load_member_keys(self.world.federation.site(self.name) / "keys", PASSPHRASE)
        return self._keys

    def client(self, knows: Mapping[str, str]) -> Client:
        """The member's open site, whose model knows the answers in ``knows``."""
        if self._client is None:
            self._client = self.world.federation.client(
                self.name,
                settings=SiteSettings(mechanism=Mechanism.UNSAFE_NO_NOISE),
                model=TableModel(knows),
                transport=self.line,
                randomness=self.world.randomness,
            )
        return self._client

    def restart(self) -> None:
        """Forget everything that is not on disk."""
        if self._client is not None:
            self._client.close()
        self._client = None

    close = restart

    def step(self, round_id: RoundId, name: str, do: Callable[[Round], Any], knows: Mapping[str, str]) -> Any:
        """Take one step of a round, again while only the network is at fault; how it ended is in `ended`."""
        for attempt in range(ATTEMPTS):
            try:
                result = do(self.client(knows).join(round_id))
            except SemfedError as error:
                self._note(round_id, name, str(error.fields.get("server_code") or error.code))
                if error.code == "SF341" and attempt < ATTEMPTS - 1:
                    continue
                return None
            self._note(round_id, name, "done")
            return result
        return None

    def collect(self, round_id: RoundId, knows: Mapping[str, str]) -> None:
        """Collect the consensus and keep its labels."""
        found = self.step(round_id, "collect", lambda joined: joined.wait_for_consensus(), knows)
        if found is not None:
            self.labels[round_id] = tuple(
                result.label if result.status is PromptStatus.AGREED else None for result in found.results
            )

    def post(self, round_id: RoundId, body: bytes, *, expect: str, again: bool = False) -> bytes:
        """Send bytes past the site; the answer, which must be ``expect``: ``admitted`` or a code.

        What the server answers with a receipt for the first time it must have in its log; ``again`` says that it was
        answered before.
        """
        try:
            answer = self.line.post(round_id, body)
        except PeerError as error:
            said, answer, logged = str(error.fields.get("server_code")), b"", False
        else:
            said, logged = said_by(answer), not again
        self._note(round_id, "post", said)
        assert said == expect, f"{self.name} expected {expect} in {round_id} and was told {said}"
        if logged:
            self.world.expected[self.name, round_id].append(said)
        return answer

    def _note(self, round_id: RoundId, step: str, ended: str) -> None:
        from tests.simulator.transcript import Act

        self.ended[round_id, step] = ended
        self.world.transcript.acts.append(Act(self.name, round_id, step, ended))


def said_by(answer: bytes) -> str:
    """What a receipt says: ``admitted`` or ``committed``, or the code for which the contribution was refused."""
    receipt = parse_receipt(parse_signed(answer, limits=signed_limits(RECEIPT_LIMITS)).payload)
    return receipt.code or receipt.outcome.value
