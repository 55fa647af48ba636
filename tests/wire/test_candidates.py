"""What is read as one word is one candidate: letters of two alphabets in a word are none."""

# ruff: noqa: RUF001 (letters that look like others are what this is about)

from __future__ import annotations

import pytest

from semfed_secure.wire.candidates import can_be_candidate


@pytest.mark.parametrize(
    "text",
    [
        *("he\u0430rt", "\u0430sthma", "fl\u03bfw", "\u0391spirin", "\u03a4NF", "l\u0578ng", "\u13aaB", "\u2c9fral"),
        *("A\u0301\u0441", "\uff48\u0435art", "a heart and a he\u0430rt", "pre-he\u0430rt", "sinus-t\u0430chycardia"),
    ],
)
def test_a_word_with_a_letter_of_another_alphabet_is_no_candidate(text: str) -> None:
    """It would look like a word that another site proposed, or like the prompt's own label."""
    assert not can_be_candidate(text)


@pytest.mark.parametrize(
    "text",
    [
        *("β-blocker", "5 \u00b5g", "5 \u03bcg", "α1-antitrypsin", "TNFα", "NFκB", "ΔF508", "γδT cells", "50 \u2126"),
        *("résumé", "re\u0301sume\u0301", "straße", "İstanbul", "\ufb01brosis", "naïve", "310 \u212a", "type \u2163"),
        *("Εγκεφαλικό", "бронхит", "ВИЧ-1", "IgG-антитела", "ИФНγ", "აორტა", "սիրտ", "心不全", "CTスキャン", "X線"),
        *("심부전", "הMRI", "قلب", "แพ้ยาNSAIDs", "हृदय"),
    ],
)
def test_words_of_any_language_and_greek_letters_of_medicine_are_candidates(text: str) -> None:
    """Each word is in its own alphabet; Greek letters that look like no other, and scripts without case, fit to any."""
    assert can_be_candidate(text)
