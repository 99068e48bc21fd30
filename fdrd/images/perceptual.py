"""What an image looks like, in 196 bytes, and whether two images look alike although their bytes differ.

A look holds the 14 x 14 lowest frequencies of the brightness of the upright picture (a discrete cosine
transform, DCT). From it come the 64-bit code that the search goes by (a perceptual hash: which of the 8 x 8
lowest are above their median), the code of the picture without its rim, and the look of the picture
without any strip of its sides. Two images are alike if one of them, so cut, differs from the other by
at most an eighth of the other's contrast. That finds what was recompressed, resized, or cut by up to 6 %
at each side; not what was mirrored or turned. Colour is not compared.

All numbers are integers, those of them that go through a matrix product of floats included (they stay
below 2**53, so that no order of summation rounds them): looks are the same on every machine.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from fdrd.images.pixels import small_grey

Floats = npt.NDArray[np.float64]
Looks = npt.NDArray[np.int8]

SIZE = 64  # pixels of a side of the thumbnail
BAND = 14  # frequencies that are kept
COMPARED = 8  # frequencies that are compared: the others only serve to cut
STEP = 11.2  # a frequency of c grey levels is kept as STEP * sqrt(|c|): small ones matter, too
CUTS = (0.0, 0.015, 0.03, 0.045, 0.06)  # shares of a side that may have been cut off
RIM = 0.03  # of a side: what the second code leaves out
PLAIN = 3.0  # grey levels of contrast below which a picture shows too little to be compared
_UNIT = 1024  # what 1 is in a table
_ONE = STEP * STEP  # what a grey level is in a spectrum


def look_of(image: Image.Image) -> str:
    """The look of an upright picture, as base64.

    >>> look_of(Image.new("L", (8, 8), 128)) == look_of(Image.new("RGB", (900, 3), (128, 128, 128)))
    True
    """
    pixels = np.asarray(small_grey(image, SIZE), dtype=np.float64)
    sums = _TRANSFORM @ pixels @ _TRANSFORM.T
    levels = sums / (SIZE * SIZE * _UNIT * _UNIT)  # exact: a power of two
    levels[0, 0] -= 128
    roots = np.rint(np.sqrt(np.abs(levels)) * STEP) * np.sign(levels)
    return base64.b64encode(np.clip(roots, -127, 127).astype(np.int8).tobytes()).decode()


def unpacked(looks: Sequence[str]) -> Looks:
    """(N, 14, 14) of looks: signed square roots, an eighth of the memory of their spectra."""
    data = b"".join(base64.b64decode(look) for look in looks)
    return np.frombuffer(data, dtype=np.int8).reshape(-1, BAND, BAND)


def spectra(looks: Looks) -> Floats:
    """The spectra of unpacked looks: whole numbers, with `STEP` squared for a grey level."""
    roots = looks.astype(np.float64)
    return roots * np.abs(roots)


def codes(spectrum: Floats) -> npt.NDArray[np.uint64]:
    """(N,) perceptual hashes of (N, 14, 14) spectra."""
    low = spectrum[:, :COMPARED, :COMPARED].reshape(-1, COMPARED * COMPARED)
    median = np.sort(low[:, 1:], axis=1)[:, 31:32]
    return np.packbits(low > median, axis=1).view(">u8")[:, 0].astype(np.uint64)


def without_rim(spectrum: Floats) -> Floats:
    """The spectra of the pictures without their rim."""
    cut = _cutting(RIM, RIM, BAND)
    return np.rint(cut @ spectrum @ cut.T / _UNIT**2)


def contrast(spectrum: Floats) -> Floats:
    """(N,) of spectra: root mean square of the compared frequencies, in grey levels."""
    return np.sqrt(_energy(spectrum)) / _ONE


def hardly_differ(spectrum: Floats, other: Floats) -> npt.NDArray[np.bool_]:
    """(N,) whether pictures differ from another one by at most a thirty-second of its contrast, uncut."""
    difference = np.sum((spectrum - other)[:, :COMPARED, :COMPARED] ** 2, axis=(1, 2))
    return np.asarray(difference <= _energy(other[None]) / 32**2)


def alike(first: Floats, second: Floats) -> npt.NDArray[np.bool_]:
    """(P,) whether the pictures of (P, 14, 14) spectra look alike, pair by pair."""
    bound = np.minimum(_energy(first), _energy(second)) / COMPARED**2
    difference = np.sum((first - second)[:, :COMPARED, :COMPARED] ** 2, axis=(1, 2))
    found: npt.NDArray[np.bool_] = difference <= bound
    for one, other in ((first, second), (second, first)):
        todo = np.flatnonzero(~found)
        found[todo] = _least_difference(one[todo], other[todo]) <= bound[todo]
    return found


def _least_difference(whole: Floats, part: Floats) -> Floats:
    """(P,) squared difference of `part` from `whole` without strips of its sides, the best that is found.

    The strips at left and right are chosen first, then those above and below, and both once more.
    """
    target = part[:, :COMPARED, :COMPARED]
    rows = np.zeros(len(whole), dtype=np.int64)  # number of the cut above and below, 0 cuts nothing
    least = np.zeros(len(whole))
    for _ in range(2):
        columns, _ = _best(_CUTTING[rows] @ whole / _UNIT, target)
        across = whole @ _CUTTING[columns].transpose(0, 2, 1) / _UNIT
        rows, least = _best(across.transpose(0, 2, 1), target.transpose(0, 2, 1))
    return least


def _best(spectrum: Floats, target: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """The cut along the last axis of (P, 8, 14) that leaves the least difference, and that difference."""
    spectrum = np.rint(spectrum)
    least = np.full(len(target), np.inf)
    best = np.zeros(len(target), dtype=np.int64)
    for number, cut in enumerate(_CUTTING):
        difference = np.rint(spectrum @ cut.T / _UNIT) - target
        squared = np.einsum("pij,pij->p", difference, difference)
        better = squared < least
        best[better], least[better] = number, squared[better]
    return best, least


def _energy(spectrum: Floats) -> Floats:
    low = spectrum[:, :COMPARED, :COMPARED]
    return np.asarray(np.sum(low**2, axis=(1, 2)) - low[:, 0, 0] ** 2)


def _waves(places: Floats, count: int) -> Floats:
    """(count, P) cosines over [0, 1] with a mean square of 1."""
    waves = [np.full(len(places), 1.0)]
    waves += [math.sqrt(2) * np.cos(np.pi * places * number) for number in range(1, count)]
    return np.stack(waves)


def _cutting(left: float, right: float, rows: int) -> Floats:
    """(rows, 14) whole numbers: from the frequencies of a line to those of its part."""
    places = (np.arange(512) + 0.5) / 512
    parts = _waves(left + (1 - left - right) * places, BAND)
    return np.rint(_waves(places, rows) @ parts.T / 512 * _UNIT)


_TRANSFORM = np.rint(_waves((np.arange(SIZE) + 0.5) / SIZE, BAND) * _UNIT)
_CUTTING = np.stack([_cutting(left, right, COMPARED) for left in CUTS for right in CUTS])
