"""What the audit by attack says about figures is right: counted by hand, by other libraries, and by simulation."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from semfed_secure.privacy import attack, attack_bounds

# jax-privacy 2.0.0, `jax_privacy/auditing.py`: p-value at epsilon 1 and bound at 95 %, recorded from a run of it.
RECORDED = (
    (500, 500, 500, 0.0, 9.46430787651468e-69, 5.114422092549468),
    (500, 500, 400, 1e-6, 0.00023220530796750952, 1.1986115807070539),
    (500, 250, 230, 1e-6, 1.6279442950076898e-05, 2.049140985262487),
    (1000, 300, 290, 1e-5, 0.00022913656726823576, 2.822829550967972),
    (100, 100, 60, 1e-6, 0.9984432981125229, 0.05189143027135241),
    (100, 50, 50, 1e-3, 0.010584384517408703, 2.4812692334617927),
    (5000, 5000, 4950, 1e-6, 7.240385321248804e-06, 4.357625836515022),
)


def exact_p_value(canaries: int, guesses: int, right: int, odds: int, delta: Fraction) -> Fraction:
    """Theorem 5.2 of Steinke, Nasr, Jagielski 2023 in whole numbers, for e^epsilon = ``odds``."""
    chance = Fraction(odds, odds + 1)
    mass = [math.comb(guesses, k) * chance**k * (1 - chance) ** (guesses - k) for k in range(guesses + 1)]
    most = max((sum(mass[right - i : right]) / i for i in range(1, right + 1)), default=Fraction(0))
    return min(Fraction(1), sum(mass[right:]) + 2 * canaries * delta * most)


@pytest.mark.parametrize(("canaries", "guesses", "right", "delta", "p_value", "bound"), RECORDED)
def test_the_bound_from_one_run_is_that_of_another_implementation(canaries, guesses, right, delta, p_value, bound):
    """P-value and lower bound agree with the figures recorded from jax-privacy to a millionth."""

    def own(epsilon: float) -> float:
        return attack_bounds.membership_p_value(canaries, guesses, right, epsilon=epsilon, delta=delta)

    assert own(1.0) == pytest.approx(p_value, rel=1e-6)
    assert attack_bounds.epsilon_lower_bound(own, significance=0.05) == pytest.approx(bound, abs=2e-6)


@pytest.mark.parametrize(("guesses", "right"), [(12, 12), (12, 9), (30, 0), (30, 17), (1, 1)])
@pytest.mark.parametrize("odds", [1, 3, 50])
def test_the_p_value_is_the_theorem_in_exact_arithmetic(guesses, right, odds):
    """Floating point gives what fractions give."""
    delta = Fraction(1, 1000)
    own = attack_bounds.membership_p_value(40, guesses, right, epsilon=math.log(odds), delta=float(delta))
    assert own == pytest.approx(float(exact_p_value(40, guesses, right, odds, delta)), rel=1e-9)


def test_the_bound_never_exceeds_the_truth_of_a_mechanism_that_is_exactly_as_private_as_it_says():
    """Randomised response at epsilon 1, attacked in the best way: over 400 runs at most 5 % (and luck) are rejected."""
    rng, epsilon, canaries = np.random.default_rng(5), 1.0, 200
    honest = rng.random((400, canaries)) < 1 / (1 + math.exp(-epsilon))
    rejected = 0
    for told in honest:
        members = rng.random(canaries) < 0.5
        scores = np.where(told, members, ~members) + rng.random(canaries) / 2
        rejected += attack_bounds.best_membership_p_value(scores, members, epsilon=epsilon, delta=0.0) < 0.05
    assert rejected <= stats.binom.ppf(0.999, 400, 0.05)


def test_a_mechanism_that_tells_more_than_it_says_is_rejected():
    """Randomised response at epsilon 2.5 is not taken for one at epsilon 1: power at 200 canaries is above 0.9."""
    rng, canaries, found = np.random.default_rng(6), 200, 0
    for _ in range(100):
        members = rng.random(canaries) < 0.5
        told = rng.random(canaries) < 1 / (1 + math.exp(-2.5))
        scores = np.where(told, members, ~members).astype(float)
        found += attack_bounds.best_membership_p_value(scores, members, epsilon=1.0, delta=1e-6) < 0.05
    assert found >= 90


@pytest.mark.parametrize("canaries", [1, 20, 150])
@pytest.mark.parametrize("q", [0.01, 0.2, 0.6])
def test_the_p_value_of_secrets_is_never_below_that_of_the_most_telling_mechanism_without_delta(canaries, q):
    """A mechanism that gives each secret away with probability q = e^epsilon chance hits binomially often."""
    chance = 1e-4
    epsilon = math.log(q / chance)
    for hits in range(canaries + 1):
        own = attack_bounds.secrets_p_value(canaries, hits, chance=chance, epsilon=epsilon, delta=0.0)
        assert own >= stats.binom.sf(hits - 1, canaries, q) * (1 - 1e-9)


def test_the_p_value_of_secrets_covers_a_mechanism_that_uses_up_its_delta_on_all_canaries_at_once():
    """With probability delta everything is told, else nothing: delta is all that such a run may be believed."""
    delta = 1e-3
    for hits in (1, 5, 50):
        own = attack_bounds.secrets_p_value(50, hits, chance=1e-6, epsilon=1.0, delta=delta)
        assert delta <= own <= 1


def test_secrets_show_more_than_coins_can():
    """100 canaries that give away a secret of one in ten million show epsilon 8; by coins the bound ends at about 3."""

    def p_value(epsilon: float) -> float:
        return attack_bounds.secrets_p_value(100, 60, chance=1e-7, epsilon=epsilon, delta=1e-6)

    assert attack_bounds.epsilon_lower_bound(p_value, significance=0.05) > 8
    assert attack_bounds.detectable_by_membership(100, delta=1e-6, significance=0.05) < 3.5
    assert attack_bounds.detectable_by_secrets(100, chance=1e-7, delta=1e-6, significance=0.05) > 12


def test_what_can_be_detected_is_what_a_perfect_attacker_gets():
    """The detectable epsilon of n coins is the bound of n right guesses, and grows by about log 10 with ten times n."""
    few, many = (attack_bounds.detectable_by_membership(n, delta=0.0, significance=0.05) for n in (500, 5000))
    assert few == pytest.approx(-math.log((0.05 / 4) ** (-1 / 500) - 1), abs=1e-6)
    assert many - few == pytest.approx(math.log(10), abs=0.01)


def test_a_guesser_without_knowledge_shows_nothing():
    """Constant scores give a lower bound of zero."""
    members = np.random.default_rng(7).random(500) < 0.5

    def p_value(epsilon: float) -> float:
        return attack_bounds.best_membership_p_value(np.zeros(500), members, epsilon=epsilon, delta=1e-6)

    assert attack_bounds.epsilon_lower_bound(p_value, significance=0.01) == 0


@pytest.mark.parametrize(("count", "of"), [(0, 10), (10, 10), (3, 10), (5, 500), (250, 500)])
def test_the_interval_of_a_rate_is_that_of_clopper_and_pearson(count, of):
    """Both ends agree with the quantiles of the beta distribution."""
    found, tail = attack.rate(count, of), 0.025
    low = 0.0 if count == 0 else stats.beta.ppf(tail, count, of - count + 1)
    high = 1.0 if count == of else stats.beta.ppf(1 - tail, count + 1, of - count)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


def test_auc_is_the_share_of_pairs_in_the_right_order():
    """Ties count half, and the order of the canaries does not matter."""
    rng = np.random.default_rng(8)
    scores, members = rng.integers(0, 4, 60).astype(float), rng.random(60) < 0.5
    pairs = [(a > b) + (a == b) / 2 for a in scores[members] for b in scores[~members]]
    assert attack.auc(scores, members) == pytest.approx(np.mean(pairs))
    assert attack.auc(scores, np.zeros(60, bool)) == 0.5


def test_true_positives_are_counted_at_a_false_positive_rate_that_was_kept():
    """At 1 % of 200 others two may lie above the threshold; at 0.1 % none; ties with the threshold do not count."""
    members = np.repeat([True, False], 200)
    scores = np.concatenate([np.full(200, 5.0), np.arange(200) / 100])
    scores[200:203] = [9.0, 8.0, 5.0]
    assert attack.true_positives_at(0.01, scores, members).count == 0
    scores[202] = 4.0
    assert attack.true_positives_at(0.01, scores, members).count == 200
    assert attack.true_positives_at(0.001, scores, members).count == 0
