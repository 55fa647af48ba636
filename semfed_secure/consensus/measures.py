"""The words of quantities: English numbers, units in terms of their base, and times in seconds or months."""

from __future__ import annotations

from fractions import Fraction

Measure = tuple[str, Fraction]
"""A base unit, and how much of it."""

_ONES = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
COUNTS = {word: value for value, word in enumerate(_ONES.split())} | {
    word: 10 * value for value, word in enumerate(_TENS.split(), 2)
}
SCALES = {"hundred": 100, "thousand": 1_000, "million": 10**6, "billion": 10**9}
_ORDINALS = "second third fourth fifth sixth seventh eighth ninth tenth"
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec"
_ROMAN = "i ii iii iv v vi vii viii ix x xi xii"
# "first" is not among them, as "one" without a unit is no number: both are more often a manner of speaking.
ORDINALS = {word: value for value, word in enumerate(_ORDINALS.split(), 2)}
MONTHS = {word: value for value, word in enumerate(_MONTHS.split(), 1)}
ROMAN = {word: value for value, word in enumerate(_ROMAN.split(), 1)}
MONTH = (
    "(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    "|nov(?:ember)?|dec(?:ember)?)"
)
TIMES = {"once": 1, "twice": 2, "thrice": 3, "bid": 2, "bd": 2, "tid": 3, "tds": 3, "qid": 4, "qds": 4}
MONEY = {"$": "usd", "us$": "usd", "€": "eur", "£": "gbp", "¥": "jpy", "₹": "inr"} | {
    code: code for code in ("usd", "eur", "gbp", "jpy", "chf", "inr")
}


def _table(rows: str) -> dict[str, Measure]:
    split = [row.split() for row in rows.strip().splitlines()]
    return {name: (base, Fraction(factor)) for base, factor, *names in split for name in names}


SPANS = _table("""
    s 1 s sec secs second seconds
    s 60 min mins minute minutes
    s 3600 h hr hrs hour hours
    s 86400 d day days dai night nights
    s 604800 wk wks week weeks
    s 1209600 fortnight fortnights
    month 1 mo month months
    month 12 yr yrs year years annum annual
""")
UNITS = SPANS | _table("""
    g 1000 kg kgs kilo kilos kilogram kilograms
    g 1 g gram grams
    g 1/1000 mg mgs milligram milligrams
    g 1/1000000 mcg ug \u03bcg microgram micrograms
    g 1/1000000000 ng nanogram nanograms
    lb 1 lb lbs
    l 1 l liter liters litre litres
    l 1/10 dl deciliter deciliters decilitre decilitres
    l 1/1000 ml milliliter milliliters millilitre millilitres cc
    l 1/1000000 ul \u03bcl microliter microliters microlitre microlitres
    m 1000 km kilometer kilometers kilometre kilometres
    m 1 m meter meters metre metres
    m 1/100 cm centimeter centimeters centimetre centimetres
    m 1/1000 mm millimeter millimeters millimetre millimetres
    m2 1 m2 m^2
    mol 1 mol
    mol 1/1000 mmol
    mol 1/1000000 umol \u03bcmol
    meq 1 meq
    unit 1 u iu unit units
    mmhg 1 mmhg
    celsius 1 °c celsius °celsius
    fahrenheit 1 °f fahrenheit °fahrenheit
    % 1 % percent
    % 1/10 ‰
    am 1 am
    pm 1 pm
    usd 1 $ usd dollar dollars
    eur 1 € eur euro euros
    gbp 1 £ gbp pound pounds
    jpy 1 ¥ jpy yen
    chf 1 chf franc francs
    inr 1 ₹ inr rupee rupees
    cent 1 cent cents
    penny 1 p pence penny
""")
