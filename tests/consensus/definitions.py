"""The rules for one prompt, in plain loops from their definitions; slow, and made to be compared with."""

from __future__ import annotations

import math
import statistics

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def coordinate_median(rows: Array) -> Array:
    """The middle value of every coordinate."""
    return np.array([statistics.median(column.tolist()) for column in rows.T])


def trimmed_mean(rows: Array, *, faults: int) -> Array:
    """Yin et al. 2018: without the `faults` least and greatest values of every coordinate."""
    kept = [sorted(column.tolist())[faults : len(rows) - faults] for column in rows.T]
    return np.array([math.fsum(column) / len(column) for column in kept])


def krum(rows: Array, *, faults: int, places: int) -> Array:
    """Blanchard et al. 2017: the clients with the least sum of squared distances to their n - f - 2 nearest."""
    scores = []
    for client, row in enumerate(rows):
        others = sorted(math.dist(row, other) ** 2 for place, other in enumerate(rows) if place != client)
        scores.append(math.fsum(others[: len(rows) - faults - 2]))
    best = sorted(range(len(rows)), key=lambda client: scores[client])
    if places < len(rows) and math.isclose(scores[best[places - 1]], scores[best[places]], rel_tol=1e-4):
        return _with_a_tie(rows, scores, places)
    return np.mean([rows[client] for client in best[:places]], axis=0)


def _with_a_tie(rows: Array, scores: list[float], places: int) -> Array:
    border = sorted(scores)[places - 1]
    tied = [row for row, score in zip(rows, scores, strict=True) if math.isclose(score, border, rel_tol=1e-5)]
    below = [
        row
        for row, score in zip(rows, scores, strict=True)
        if score < border and not math.isclose(score, border, rel_tol=1e-5)
    ]
    return (np.sum(below, axis=0) + np.mean(tied, axis=0) * (places - len(below))) / places


def mixtures(rows: Array, *, faults: int) -> Array:
    """Allouah et al. 2023: the mean of each client's n - f nearest, itself among them; ties at the edge share."""
    mixed = []
    for row in rows:
        distances = [math.dist(row, other) ** 2 for other in rows]
        mixed.append(_with_a_tie(rows, distances, len(rows) - faults))
    return np.array(mixed)


def centered_clipping(rows: Array, *, radius: float) -> Array:
    """Karimireddy et al. 2021, five steps from the origin."""
    centre = np.zeros(rows.shape[1])
    for _ in range(5):
        ways = [row - centre for row in rows]
        centre += sum(way * min(1.0, radius / np.linalg.norm(way)) for way in ways) / len(rows)
    return centre


def angles(rows: Array, directions: Array) -> Array:
    """Sum of the angles between each direction and those of the rows; rows of zeros have none."""
    rows = rows[rows.any(axis=1)].astype(float)
    directions = directions.astype(float)
    lengths = np.linalg.norm(directions, axis=-1, keepdims=True) * np.linalg.norm(rows, axis=1)
    return np.arccos(np.clip(directions @ rows.T / lengths, -1, 1)).sum(axis=-1)


def sum_of_distances(rows: Array, weights: Array, point: Array) -> float:
    """What the geometric median makes least."""
    return math.fsum(weight * math.dist(row, point) for row, weight in zip(rows, weights, strict=True))


def least_sum_of_distances(rows: Array, weights: Array) -> float:
    """The least there is: at one of the rows, or where reweighted least squares with shrinking smoothing ends."""
    best = min(sum_of_distances(rows, weights, row) for row in rows)
    middle = coordinate_median(rows)
    size = float(np.median(np.linalg.norm(rows - middle, axis=1))) or 1.0
    point = middle
    for smoothing in np.geomspace(size, size * 1e-9, 800):
        pull = weights / np.sqrt(((rows - point) ** 2).sum(axis=1) + smoothing**2)
        point = point + (pull @ (rows - point)) / pull.sum()
    return min(best, sum_of_distances(rows, weights, point))


def hard_sets() -> dict[str, tuple[Array, Array]]:
    """Sets on which Weiszfeld's iteration stalls, creeps, divides by zero or loses its digits."""
    chance = np.random.default_rng(7)
    cloud, ones = chance.standard_normal((9, 5)), np.ones(9)
    line = np.arange(8.0)[:, None] * np.array([[1.0, 2.0, -1.0]])
    star = np.concatenate([np.eye(4), -np.eye(4), np.zeros((1, 4))])
    corner = np.array([[0.0, 0.0], [1.0, 0.0], [-0.49999, math.sqrt(3) / 2], [-0.5, -0.86602]])
    heavy = ones.copy()
    heavy[3] = 7.9
    return {
        "one client": (cloud[:1], ones[:1]),
        "two clients": (cloud[:2], ones[:2]),
        "all equal": (np.repeat(cloud[:1], 6, axis=0), ones[:6]),
        "half are equal": (np.concatenate([np.repeat(cloud[:1], 4, axis=0), cloud[1:5]]), ones[:8]),
        "duplicates in two places": (np.concatenate([cloud[:4], cloud[:2], cloud[:2]]), ones[:8]),
        "an even number on a line": (line, ones[:8]),
        "an odd number on a line": (line[:7], ones[:7]),
        "the median is a client": (star, ones),
        "the median is nearly a client": (star + 1e-3 * cloud[:, :4], ones),
        "a client on the verge of being the median": (corner, ones[:4]),
        "nearly all weight at one client": (cloud, heavy),
        "an obtuse corner": (np.array([[0.0, 0.0], [1.0, 0.05], [-1.0, 0.05]]), ones[:3]),
        "outliers ten thousand million away": (np.concatenate([cloud[:6], 1e10 * cloud[6:]]), ones),
        "a tight cluster far from the origin": (1000 + cloud, ones),
        "two tight clusters": (np.concatenate([1e-4 * cloud[:5], 1 + 1e-4 * cloud[5:]]), ones),
        "nearly equal directions": (np.array([1.0, 0, 0, 0, 0]) + 1e-3 * cloud, ones),
        "many dimensions": (chance.standard_normal((20, 384)) + 3 * chance.standard_normal(384), np.ones(20)),
        "very small numbers": (1e-12 * cloud, ones),
    }
