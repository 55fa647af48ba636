"""What embeddings cannot see, and the guard does."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.consensus.guards import guard
from semfed_secure.consensus.quantities import quantities

DIFFERENT = """
give 5 mg daily                     | give 50 mg daily
give 5 mg daily                     | give 5 g daily
give 5 mg daily                     | give 5 mg weekly
give 5 mg daily                     | give 5 mg twice daily
give 5 mg                           | give 5 mg/kg
give 0,5 mg                         | give 5 mg
give .5 mg                          | give 5 mg
give 5-10 mg                        | give 5-15 mg
give 5-10 mg                        | give 5-10 µg
give half a tablet                  | give a tablet
give 2½ tablets                     | give 21/2 tablets
10 x 5 mg                           | 10 x 50 mg
every 4 hours                       | every 6 hours
every 4 hours                       | for 4 hours
one hundred and fifty               | one hundred and fifteen
take5 mg                            | take5 g
10² cells                           | 102 cells
within 2 days                       | within 2 weeks
at 8 am                             | at 8 pm
on 5 March 2024                     | on 5 April 2024
38 °C                               | 38 °F
type 1 diabetes                     | type II diabetes
stage IIIa                          | stage IIIb
hepatitis B                         | hepatitis C
second trimester                    | third trimester
code E11.9                          | code E10.9
balance of $1,200                   | balance of $1,300
balance of $12                      | balance of €12
balance of $5k                      | balance of $5m
£5 a month                          | £5 a year
minus: -3                           | plus: 3
two episodes                        | three episodes
fracture of the hip                 | no fracture of the hip
the drug is indicated               | the drug is contraindicated
it doesn't help                     | it does help
it doesnt help                      | it does help
smokes                              | no longer smokes
stroke                              | stroke was ruled out
stroke was ruled out                | stroke was not ruled out
reports pain                        | denies pain
fever                               | afebrile
has pain                            | is free of pain
traumatic                           | nontraumatic
nondisplaced, with malunion          | nondisplaced, with nonunion
fever present                       | fever n\u043et present
a fever                             | n\u200bo fever
left hip                            | right hip
hypothyroidism                      | hyperthyroidism
increase the dose                   | decrease the dose
acute pain                          | chronic pain
a benign tumour                     | a malignant tumour
before meals                        | after meals
more than 5 mg                      | less than 5 mg
at least 5 mg                       | at most 5 mg
weight gain                         | weight loss
potassium > 5                       | potassium < 5
it isn\u00b4t broken                | it is broken
recommended in pregnancy            | to be avoided in pregnancy
incoming transfer                   | outgoing transfer
start the drug                      | discontinue the drug
the payment was approved            | the payment was declined
credited to the account             | debited from the account
"""
SAME = """
give 5 mg daily                     | 5 milligrams every day
give 5 mg daily                     | 5 mg once a day
5 mg b.i.d.                         | 5 mg twice daily
5 mg bid                            | 5 mg every 12 h
two times a day                     | q12h
every 8 hours                       | three times per day
every 2 weeks                       | fortnightly
once a week                         | weekly
give 500 mg                         | give 0.5 g
give 0,5 mg                         | give 500 µg
5 \u00b5g                           | 5 \u03bcg
5 mcg                               | 0.005 mg
give 1,000 ml                       | give one litre
two (2) tablets                     | 2 tablets
for half an hour                    | for 30 minutes
no fever or cough                   | no fever, no cough
the drug lowers high blood pressure | the drug treats hypertension
5-10 mg                             | 5 mg to 10 mg
120/80 mmHg                         | 120 over 80 mmHg
half a tablet                       | 1/2 tablet
2½ tablets                          | two and a half tablets
5.0 mg                              | 5mg
two episodes                        | 2 episodes
twenty-five                         | 25
two hundred and fifty thousand      | 250,000
1.250,50                            | 1,250.50
10 %                                | 10 per cent
38 °C                               | 38 degrees Celsius
14 days                             | 2 weeks
8 a.m.                              | 8 AM
5 March 2024                        | 2024-03-05
type II                             | type 2
\uff15 mg                           | \u0665 mg
$1.2 million                        | $1,200,000
£5 monthly                          | £5 a month
no fracture                         | without a fracture
it doesn\u2019t help                | it doesn't help
cannot be excluded                  | is possible
sepsis                              | sepsis, not elsewhere classified
hyperthyroidism                     | high thyroid hormone
the more common form                | the most common form
memory loss                         | memory fails at a higher age
left knee and right knee            | right knee
the pain may fall                   | the pain may fall in May
"""


def _pairs(table: str) -> list[tuple[str, ...]]:
    return [tuple(side.strip() for side in row.split("|")) for row in table.strip().splitlines()]


@pytest.mark.parametrize(("one", "other"), _pairs(DIFFERENT))
def test_a_different_fact_has_a_different_guard(one: str, other: str) -> None:
    """Numbers, doses, units, frequencies, negation and opposites tell texts apart."""
    assert not guard(one).agrees(guard(other))
    assert not guard(other).agrees(guard(one))


@pytest.mark.parametrize(("one", "other"), _pairs(SAME))
def test_the_same_fact_in_other_words_has_guards_that_agree(one: str, other: str) -> None:
    """Spelling of numbers and units does not tell texts apart."""
    assert guard(one).agrees(guard(other))
    assert guard(other).agrees(guard(one))


@given(st.text(max_size=300))
def test_no_text_raises_and_every_text_agrees_with_itself(text: str) -> None:
    """Every text has a guard, and it is a value."""
    assert guard(text).agrees(guard(text))


@given(st.text(alphabet="0123456789.,/-x ^%$mghksd\u00bd\u00b2", max_size=40))
def test_no_arrangement_of_numbers_and_units_raises(text: str) -> None:
    """Dates, lists, ranges, fractions and what looks like them: tokens, never an exception."""
    assert guard(text).quantities == tuple(sorted(guard(text).quantities))


@given(st.integers(0, 10**9), st.sampled_from(["mg", "ml", "%", "hours", ""]))
def test_a_number_is_never_lost(number: int, unit: str) -> None:
    """However large, it tells a text from the one with the next number."""
    assert quantities(f"take {number} {unit}") != quantities(f"take {number + 1} {unit}")


@pytest.mark.parametrize("part", ["no ", "1 ", "1/2 ", "five hundred ", "1,111", "every 5 ", " ", "e1", "5 mg a l "])
def test_a_hostile_text_costs_no_more_than_its_length(part: str) -> None:
    """Twice the text takes about twice the time: no pattern looks at a text again and again."""
    times = []
    for size in (1_000, 2_000):
        started = time.process_time()
        for number in range(3):
            guard((part * size)[: size - number])
        times.append(time.process_time() - started)
    assert times[1] <= 3.2 * times[0] + 0.1
