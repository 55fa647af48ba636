"""The ledger alone, under many hands: races for the last of a budget, and processes killed at any moment."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from contextlib import suppress
from decimal import Decimal
from itertools import count
from random import Random
from typing import TYPE_CHECKING

from semfed_secure.errors import BudgetExhausted
from semfed_secure.privacy.accountant import compose, epsilon_of, gaussian_rdp
from semfed_secure.privacy.closed_forms import zcdp_epsilon
from tests.privacy.sites import DELTA, Site, histogram, lifetime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from semfed_secure.privacy.budget import Charge

RACERS = 8
LAST = Decimal("0.1")
_TRIALS_PER_DATABASE = 25
_KEYS = 40


def sqlite_urls(directory: Path) -> Iterator[str]:
    """One new database after the other."""
    for number in count():
        yield f"sqlite:///{directory / f'ledger-{number}.db'}"


def race(urls: Iterator[str], *, trials: int, seed: int) -> dict[str, int]:
    """In each trial eight processes ask at once for parts of the last 0.1 epsilon of a population.

    What was granted fits the budget, computed anew from the parameters and by a closed form; what was refused would
    not have fitted beside it; each charge has its entry, each refusal too.
    """
    random, granted, left = Random(seed), 0, trials
    while left:
        part = min(left, _TRIALS_PER_DATABASE)
        granted += _race_on(next(urls), [_asked(random) for _ in range(part)])
        left -= part
    return {"races": trials, "racers": RACERS, "asked": RACERS * trials, "granted": granted}


def _asked(random: Random) -> tuple[float, list[float]]:
    """Noise of what is spent before, and of what each racer asks for: from a small part of 0.1 to more than all."""
    before = round(random.uniform(2, 5), 3)
    return before, [round(before * random.uniform(2.5, 9), 3) for _ in range(RACERS)]


def _race_on(url: str, asked: Sequence[tuple[float, list[float]]]) -> int:
    limits = [epsilon_of(gaussian_rdp(before), DELTA) + LAST for before, _ in asked]
    site = Site(url)
    for number, (before, _) in enumerate(asked):
        site.ledger.reserve(_charge(number, "before", before), [lifetime(limits[number])])
    site.database.close()
    start = multiprocessing.get_context("fork").Barrier(RACERS)

    def run(racer: int) -> None:
        mine = Site(url)
        for number, (_, sigmas) in enumerate(asked):
            start.wait(300)
            with suppress(BudgetExhausted):
                mine.ledger.reserve(_charge(number, str(racer), sigmas[racer]), [lifetime(limits[number])])
        mine.database.close()

    _all_well([_child(lambda racer=racer: run(racer)) for racer in range(RACERS)])  # type: ignore[misc]
    site = Site(url)
    granted = sum(_judge(site, number, limits[number], *asked[number]) for number in range(len(asked)))
    if not site.agrees():
        raise AssertionError("charges and their audit entries are not one to one")
    site.database.close()
    return granted


def _charge(number: int, name: str, sigma: float) -> Charge:
    return histogram(f"{number}:{name}", repr(sigma), population=f"people-{number}")


def _judge(site: Site, number: int, limit: Decimal, before: float, sigmas: list[float]) -> int:
    asked = {f"{number}:{racer}": sigma for racer, sigma in enumerate(sigmas)}
    standing = {row.idempotency_key for row in site.charges() if row.population == f"people-{number}"}
    noises = [before, *(asked[key] for key in standing - {f"{number}:before"})]
    total = compose(gaussian_rdp(noise) for noise in noises)
    closed = zcdp_epsilon(sum(1 / (2 * noise**2) for noise in noises), DELTA)
    if not (epsilon_of(total, DELTA) <= limit and closed <= limit):
        raise AssertionError(f"{limit} was exceeded by {noises}: {epsilon_of(total, DELTA)}, {closed}")
    for key in asked.keys() - standing:
        if epsilon_of(compose((total, gaussian_rdp(asked[key]))), DELTA) <= limit:
            raise AssertionError(f"{asked[key]} was refused and fits beside {noises} into {limit}")
    return len(standing) - 1


def kill_at_random(url: str, *, kills: int, seed: int) -> dict[str, int]:
    """Three processes do the same acts over and over, one of them is killed, until ``kills`` have died.

    After each kill no charge is lost; at the end each act is charged once, committed, and in the log once.
    """
    random, killed, rounds = Random(seed), 0, 0
    site, kept = Site(url), set[str]()
    while killed < kills:
        prefix, rounds = f"round-{rounds}", rounds + 1
        work = lambda prefix=prefix: _work(url, prefix)  # noqa: E731
        alive = [_child(work) for _ in range(3)]
        for _ in range(min(12, kills - killed)):
            time.sleep(random.uniform(0.0, 0.08))
            victim = alive.pop(random.randrange(len(alive)))
            os.kill(victim, signal.SIGKILL)
            killed += os.waitstatus_to_exitcode(os.waitpid(victim, 0)[1]) == -signal.SIGKILL
            alive.append(_child(work))
            now = {row.idempotency_key for row in site.charges()}
            if lost := kept - now:
                raise AssertionError(f"lost: {sorted(lost)}")
            kept = now
        _all_well(alive)
    states = {row.idempotency_key: row.state for row in site.charges()}
    expected = {f"round-{number}:{key}": "committed" for number in range(rounds) for key in range(_KEYS)}
    if states != expected or not site.agrees():
        raise AssertionError(f"{len(states)} charges where {len(expected)} acts were done, or entries that differ")
    site.database.close()
    return {"killed": killed, "acts": len(expected)}


def _work(url: str, prefix: str) -> None:
    site = Site(url)
    for key in range(_KEYS):
        site.ledger.reserve(histogram(f"{prefix}:{key}", "60", population=prefix), [lifetime("8")])
        site.ledger.commit(f"{prefix}:{key}")
    site.database.close()


def _child(act: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        os._exit(_status(act))
    return child


def _status(act: Callable[[], None]) -> int:
    try:
        act()
    except BaseException:  # noqa: BLE001 - the parent is told by the status
        return 1
    return 0


def _all_well(children: Sequence[int]) -> None:
    for child in children:
        if os.waitpid(child, 0)[1]:
            raise AssertionError("a process of the ledger did not end well")
