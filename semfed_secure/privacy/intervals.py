"""Bounds of exponentials and of sums of them in integers: what makes a sampler exact rather than nearly so.

Every function gives two integers ``(low, high)`` that stand for numbers with ``bits`` binary places, such that the
true value lies between them. All rounding is outwards and all arithmetic is on Python's integers, so the bounds hold
without any assumption on floating point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from fractions import Fraction

Bounds: TypeAlias = tuple[int, int]


def exp_bounds(exponent: Fraction, bits: int) -> Bounds:
    """Bounds of exp(-``exponent``) for an exponent of zero or more.

    They lie 2^-``bits`` times a small factor apart: a few terms of the series and a few squarings.
    """
    halvings = max(0, (2 * exponent).numerator.bit_length() - (2 * exponent).denominator.bit_length() + 1)
    # The series runs on exponent / 2^halvings <= 1/2, and its value is squared as often. Each squaring doubles the
    # relative error, so it starts with that many places more.
    work = bits + 2 * halvings + 16
    top, bottom = exponent.numerator, exponent.denominator << halvings
    low = high = term_low = term_high = 1 << work
    count = 0
    while term_high > 1:
        count += 1
        term_low, term_high = term_low * top // (bottom * count), -(-term_high * top // (bottom * count))
        low, high = (low - term_high, high - term_low) if count % 2 else (low + term_low, high + term_high)
    # Terms alternate in sign and shrink: what was left out is less than the last one.
    low, high = max(0, low - term_high), high + term_high
    for _ in range(halvings):
        low, high = multiply((low, high), (low, high), work)
    return low >> work - bits, -(-high >> work - bits)


def multiply(one: Bounds, other: Bounds, bits: int) -> Bounds:
    """Bounds of the product of two numbers that are not negative."""
    return one[0] * other[0] >> bits, -(-one[1] * other[1] >> bits)


def gaussian_weights(scale: Fraction, bits: int) -> tuple[list[Bounds], int]:
    """Bounds of exp(-k^2 / (2 scale^2)) for k = 0, 1, ..., and a bound of the sum of all weights not listed.

    Listed are all weights whose lower bound is above zero.
    """
    # weight(k + 1) = weight(k) ratio(k) and ratio(k + 1) = ratio(k) exp(-1 / scale^2): two products for each weight.
    ratio = exp_bounds(1 / (2 * scale**2), bits)
    change = exp_bounds(1 / scale**2, bits)
    weights: list[Bounds] = []
    weight = (1 << bits, 1 << bits)
    while weight[0]:
        weights.append(weight)
        weight, ratio = multiply(weight, ratio, bits), multiply(ratio, change, bits)
    # Ratios fall, so from here on the weights are below a geometric series.
    return weights, -(-(weight[1] << bits) // ((1 << bits) - ratio[1]))
