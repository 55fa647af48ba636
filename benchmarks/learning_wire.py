"""What a round of `learning.py` weighs on the wire, counted where the product sends and receives it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semfed_secure.ids import PromptId
from semfed_secure.llm.model import Record
from semfed_secure.testing.federation import LocalFederation, SiteSettings
from semfed_secure.testing.models import TableModel
from semfed_secure.units import Mechanism
from semfed_secure.wire.prompts import Prompt, PromptSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from learning_tasks import Ints, Task


class Scales:
    """A transport that counts the bytes it carries, by what they are."""

    def __init__(self, transport: object) -> None:
        self._transport, self.carried = transport, dict[str, int]()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._transport, name)

        def counted(*arguments: Any) -> Any:
            found = call(*arguments)
            for thing in (*arguments, found):
                if isinstance(thing, bytes) and len(thing) > 32:  # not a digest that is asked for
                    self.carried[name] = self.carried.get(name, 0) + len(thing)
            return found

        return counted


def round_bytes(task: Task, asked: Ints) -> dict[str, int]:
    """Bytes of one site in one round of votes on ``asked``, signatures and seals included, by request."""
    rows = tuple(Prompt(PromptId(f"p{n:04}"), task.questions[n]) for n in asked.tolist())
    prompts = PromptSet("asked", rows, task.labels)
    members = ["north", "south", "east"]
    truth = {row.text: task.labels[task.gold[n]] for row, n in zip(rows, asked.tolist(), strict=True)}
    with (
        tempfile.TemporaryDirectory() as directory,
        LocalFederation(Path(directory) / "run", members=members, prompt_sets=[prompts]) as federation,
    ):
        federation.open_round("round-1", prompts, min_clients=3)
        scales = {member: Scales(federation.transport()) for member in members}
        settings = SiteSettings(mechanism=Mechanism.DP_SGD)
        clients = {}
        for member in members:
            clients[member] = federation.client(
                member, settings=settings, model=TableModel(truth), transport=scales[member]
            )
            own = [Record(f"{member}-{n}", row.text, truth[row.text]) for n, row in enumerate(rows[:40])]
            joined = clients[member].join("round-1")
            joined.train(own)
            joined.contribute()
        federation.close_round("round-1")
        for client in clients.values():
            client.join("round-1").wait_for_consensus()
            client.close()
    return scales[members[0]].carried
