"""Trains a real model at sites whose processes are killed in the middle of it, each resumed in a process of its own.

``python -m tests.client.resume_driver DIRECTORY`` prints one JSON line: what is left at a site that was never killed,
at one that was killed at every step of `KILLED_AT`, and at one for each mutant of `MUTANTS` that was killed at two.
Children are forked before any thread exists; each opens its site and loads its model by itself.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from semfed_secure.client import training
from semfed_secure.client.site import ADAPTERS, DATABASE_FILE
from semfed_secure.client.training import plan_for
from semfed_secure.crypto.stream import ChaChaStream
from semfed_secure.llm.files import directory_digest
from semfed_secure.privacy.ledger import BudgetLedger
from semfed_secure.storage import Database
from semfed_secure.storage.ledger_rows import list_charges
from semfed_secure.testing import LocalFederation, SiteSettings
from tests.client.world import PROMPTS, ROUND, events, records
from tests.llm import tiny

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from semfed_secure.client.session import Client

STEPS = 4
KILLED_AT = ("train 4", "train 5: 1/4", "train 5: 2/4", "train 5: 4/4", "train 5")
UNTOUCHED, KILLED = "untouched", "killed"


def _pays_again() -> None:
    """Each process takes its run for another one."""
    planned = training.charge_for

    def charge_for(site: Any, key: str, *given: Any) -> Any:
        return planned(site, f"{key}:{os.getpid()}", *given)

    training.charge_for = charge_for  # type: ignore[attr-defined]


def _pays_at_the_end() -> None:
    """What is not finished is not paid for."""
    reserve, fit = BudgetLedger.reserve, training._fit
    owed: list[Any] = []

    def fit_and_pay(*given: Any) -> Any:
        adapter = fit(*given)
        reserve(*owed)
        return adapter

    BudgetLedger.reserve = lambda *given: owed.extend(given)  # type: ignore[assignment, method-assign]
    training._fit = fit_and_pay


def _same_noise() -> None:
    """Noise and batches that a later process draws again."""
    ChaChaStream.from_system = lambda: ChaChaStream(fixed_key_for_test_vectors=bytes(32))  # type: ignore[method-assign]


MUTANTS: dict[str, Callable[[], None]] = {
    "pays-again": _pays_again,
    "pays-at-the-end": _pays_at_the_end,
    "same-noise": _same_noise,
}
MEMBERS = (UNTOUCHED, KILLED, *MUTANTS)
_KILLS = dict.fromkeys(MEMBERS, ("train 5: 2/4", "train 5")) | {UNTOUCHED: (), KILLED: KILLED_AT}


def take_up(directory: Path) -> LocalFederation:
    """The federation there, founded if it is not there yet."""
    return LocalFederation(directory / "federation", members=MEMBERS, prompt_sets=[PROMPTS])


def train(directory: Path, member: str, *, die_at: str | None) -> dict[str, Any]:
    """The private training of one site, from wherever it stands; with ``die_at`` the process ends there, at once."""
    MUTANTS.get(member, lambda: None)()
    steps: list[str] = []

    def on_step(step: str) -> None:
        steps.append(step)
        if step == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with (
        take_up(directory) as federation,
        federation.client(member, settings=_settings(directory), on_step=on_step) as client,
    ):
        client.join(ROUND).train(records("somebody"))
        return {"steps": sum(step.startswith("train 5:") for step in steps), **_entries(client)}


def _settings(directory: Path) -> SiteSettings:
    adapted = tiny.SETTINGS.model_dump(mode="json", exclude_none=True) | {"threads": 1}
    sections = {
        "model": {"source": str(directory / "model")},
        "model.settings": adapted,
        "training": {"steps": STEPS, "expected_entities": 20},
        "data": {"population_bound": 40},
    }
    return SiteSettings(epsilon="2", budget="100", sections=sections)


def _entries(client: Client) -> dict[str, Any]:
    seen = [kind for kind, _ in events(client)]
    return {"reserved": seen.count("budget.reserved"), "finished": seen.count("training.finished")}


def left(directory: Path, member: str) -> dict[str, Any]:
    """What a process left behind: the charges, and the adapter that was written."""
    state = directory / "federation" / "sites" / member / "state"
    with Database.open_read_only(state / DATABASE_FILE) as database, database.snapshot() as tx:
        charges = [[row.state, row.epsilon, row.delta, row.parameters] for row in list_charges(tx)]
    adapter = state / ADAPTERS / f"{ROUND}-trained"
    return {"charges": charges, "adapter": directory_digest(adapter).hex() if adapter.exists() else None}


def _in_child(act: Callable[[], Any]) -> Any:
    """What ``act`` answers in a process of its own, or None if that was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, json.dumps(act()).encode())
        except BaseException:  # noqa: BLE001 - what it was is printed; the parent finds no answer
            traceback.print_exc()
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        text = answer.read()
    _, status = os.waitpid(child, 0)
    return None if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL else json.loads(text)


def resumed(directory: Path, member: str) -> dict[str, Any]:
    """A site that dies at each step that it is killed at, and then ends its training."""
    after_kills = []
    for step in _KILLS[member]:
        if _in_child(lambda step=step: train(directory, member, die_at=step)) is not None:
            raise AssertionError(f"{member} survived {step}")
        after_kills.append(left(directory, member))
    last = _in_child(lambda: train(directory, member, die_at=None))
    return {"after_kills": after_kills, "last": last, **left(directory, member)}


def main(arguments: Sequence[str]) -> int:
    """Train at every site."""
    directory = Path(arguments[0])
    torch.set_num_threads(1)
    tiny.write_model(directory / "model")
    with take_up(directory) as federation:
        federation.open_round(ROUND, PROMPTS, min_clients=1, closes_in_seconds=3600)
        with federation.client(UNTOUCHED, settings=_settings(directory)) as client:
            plan_for(client.site.config)  # computed once, here, and not again in each child
    sys.stdout.write(json.dumps({member: resumed(directory, member) for member in MEMBERS}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
