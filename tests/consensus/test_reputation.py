"""The memory of earlier rounds: quick to lose, slow to regain, and bounded."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.consensus import AnchorCounts, Conduct, client_weights, past_of
from semfed_secure.consensus.outcome import MAX_WEIGHT_PPM, MIN_WEIGHT_PPM
from semfed_secure.consensus.reputation import ROUNDS
from tests.consensus.evidence import planted, votes

_HONEST, _LIAR = Conduct(MAX_WEIGHT_PPM, 40, 50), Conduct(MIN_WEIGHT_PPM, 0, 50)
_CONDUCT = st.builds(
    lambda behaviour, seen, share: Conduct(behaviour, seen * share // 100, seen),
    st.integers(MIN_WEIGHT_PPM, MAX_WEIGHT_PPM),
    st.integers(0, 50),
    st.integers(0, 100),
)


def _weights(earlier: list[dict[str, Conduct]], now: list[Conduct], mode: str) -> list[int]:
    members = [f"m{row}" for row in range(len(now))]
    counts = AnchorCounts((), *(np.array([getattr(one, name) for one in now]) for name in ("right", "seen")))
    answers = votes(np.zeros((len(now), 30), np.int64))
    past = past_of(earlier, members)
    return client_weights(answers, mode=mode, anchors=counts, past=past).weight_ppm.tolist()


def test_a_sleeper_is_judged_by_the_round_in_which_it_wakes() -> None:
    """Eight honest rounds buy nothing: its weight is that of a client without a past."""
    now = [_HONEST] * 5 + [_LIAR]
    honest_years = [{f"m{row}": _HONEST for row in range(6)}] * ROUNDS
    assert _weights(honest_years, now, "anchored")[-1] == _weights([], now, "anchored")[-1]


def test_a_liar_regains_its_standing_by_halves() -> None:
    """After one bad round the weight grows from good round to good round, and full standing takes several."""
    now = [_HONEST] * 6
    good, bad = {f"m{row}": _HONEST for row in range(6)}, {f"m{row}": _HONEST for row in range(5)} | {"m5": _LIAR}
    anchored = [_weights([good] * since + [bad], now, "anchored")[-1] for since in range(6)]
    assert anchored == sorted(anchored)
    assert anchored[0] < 600_000
    assert 900_000 < anchored[3] < MAX_WEIGHT_PPM
    agreement = [_weights([good] * since + [bad], now, "agreement")[-1] for since in range(6)]
    assert agreement == sorted(agreement)
    assert agreement[0] < 900_000 < agreement[3] < MAX_WEIGHT_PPM


@given(st.lists(st.dictionaries(st.sampled_from(["m0", "m1", "m2", "m3"]), _CONDUCT), max_size=ROUNDS + 2))
def test_no_past_raises_behaviour_above_this_round_or_takes_it_out_of_its_bounds(
    earlier: list[dict[str, Conduct]],
) -> None:
    """The past can only lower what behaviour earns, and never below a half."""
    members = ["m0", "m1", "m2", "m3", "m4", "m5"]
    weights = client_weights(planted(), mode="agreement", past=past_of(earlier, members))
    assert (weights.weight_ppm <= weights.behaviour_ppm).all()
    assert (weights.weight_ppm >= MIN_WEIGHT_PPM).all()


def test_rounds_too_long_ago_and_rounds_of_others_say_nothing() -> None:
    """The ninth round back is not read, and a client that sat out has a past of nothing."""
    members = ["m0", "m1"]
    assert past_of([{}] * ROUNDS + [{"m0": _LIAR}], members).rounds_ppm.tolist() == [0, 0]
    assert past_of([{"m0": _LIAR}], members).rounds_ppm.tolist() == [500_000, 0]
    assert past_of([{}, {"m1": _LIAR}], members).seen_ppm.tolist() == [0, 12_500_000]
