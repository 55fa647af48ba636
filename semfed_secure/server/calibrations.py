"""The threshold of the server's embedder: measured on public pairs, and never used with other weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.consensus.calibration import calibrate, pair_cosines_ppm, parse_calibration, read_pairs
from semfed_secure.errors import ConfigurationError
from semfed_secure.server.service import EmbedderLoader

if TYPE_CHECKING:
    from pathlib import Path

    from semfed_secure.consensus.calibration import Calibration
    from semfed_secure.ids import Digest


def calibrate_embedder(source: str, pairs_file: Path, *, max_false_join_ppm: int) -> Calibration:
    """Measure an embedder on a file of pairs.

    Raises:
        ConfigurationError: SF102 or SF104, the file cannot be read or is not of pairs, or has too few; SF103 or SF131,
            the embedder cannot be loaded.
    """
    pairs = read_pairs(_read(pairs_file))
    embedder = EmbedderLoader(source)()
    cosine = pair_cosines_ppm(embedder.embed([pair.a for pair in pairs]), embedder.embed([pair.b for pair in pairs]))
    return calibrate(
        pairs,
        cosine,
        embedder=embedder.name,
        weights_digest=embedder.weights_digest,
        max_false_join_ppm=max_false_join_ppm,
    )


def calibrated_similarity_ppm(file: Path, weights_digest: Digest) -> int:
    """The threshold that was measured with these very weights.

    Raises:
        ConfigurationError: SF133, it was measured with others; SF102 or SF104, the file cannot be read or is none.
    """
    calibration = parse_calibration(_read(file))
    if calibration.weights_digest != weights_digest:
        raise ConfigurationError("SF133", f"{file} was measured with other weights, of {calibration.embedder}")
    return calibration.similarity_ppm


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError("SF102", f"{file} cannot be read as text") from error
