"""Perceptual features of an image (196 bytes), a test whether two images look alike, and a search for such pairs.

The features are the 14 x 14 lowest frequencies of the brightness of the upright image (a discrete cosine
transform, DCT). Three things are computed from them: a 64-bit perceptual hash that the search uses (which of
the 8 x 8 lowest frequencies are above their median), the same hash for the image without its border, and the
features of the image without any strip along its sides. Two images look alike if one of them, cropped in
this way, differs from the other by at most an eighth of the other's contrast. This finds images that were
recompressed, resized, or cropped by up to 6 % per side. They also look alike if each is, uncropped, a
function of the other's brightness. This finds changes of contrast, brightness and gamma, and, since some
pixels may differ, watermarks. An overexposed copy is compared where it is not white. The spectrum of an image
that is mirrored, or turned by quarters, is known without decoding it. Other rotations are not found. Color is
not compared.

All stored numbers are integers. Matrix products of floats stay below 2**53, so the order of summation cannot
change them, and features are the same on every machine.

The search finds hashes that differ in few bits without comparing all pairs. Hashes are divided into chunks: four of 16
bits, or three of up to 22 bits if there are many. If two hashes are within distance r, one of their chunks differs in
at most a number of bits, its flips, where the flips plus one add up to r + 1. So only hashes that share a chunk, up to
its flips, are compared (multi-index hashing, Norouzi et al., arXiv 1307.2982). The result is exact.
"""

import base64
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from fdrd.engines import available_cores
from fdrd.images.pixels import small_grayscale

Floats = npt.NDArray[np.float64]
Features = npt.NDArray[np.int8]
Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]

# What is stored. A change changes all features, and so the ledgers of checked images.
SIZE = 64  # side of the thumbnail in pixels
BAND = 14  # frequencies stored
COMPARED = 8  # frequencies compared; the others are needed for cropping only
STEP = 11.2  # a frequency of c gray levels is stored as STEP * sqrt(|c|), since small ones matter
SAMPLED = 16  # side, in pixels, of the image in which brightness is compared

# Thresholds, measured on altered copies and on photographs of similar things (docs/cleaning.md): a looser one finds
# more copies, and links images that are none. A difference is relative to the contrast; ratios are squared.
CROPS = (0.0, 0.015, 0.03, 0.045, 0.06)  # fractions of a side that may have been cropped
BORDER = 0.03  # fraction of a side that the second hash leaves out
ALIKE = 8  # least contrast to difference of two images that look alike
EQUAL = 32  # least contrast to difference of nearly equal images
MIN_CONTRAST = 3.0  # gray levels; with less, noise decides, and images are not compared
LOW_CONTRAST = 10.0  # gray levels; with less, an image is reported
MIN_DETAIL = 0.01  # energy of the frequencies from 10 up, relative to that of those from 2 to 5, in a sharp image
TONES = ((0.0, 64), (0.1, 192))  # share of pixels that may differ, least squared ratio of others
TONE_BITS = 8  # greatest distance of the hashes of such images; motorbikes in one pose differ more
UNCUT = 225  # gray levels; a smoothed sample below was not cut at white
LEAST_UNCUT = 0.3  # share of such samples in an overexposed image; with fewer, little is left
MOST_UNCUT = 0.97  # with more, the image is not overexposed
EXPOSURE = 24  # least squared ratio of contrast to difference in such images

FEW = 2**17  # up to this many hashes, four chunks are faster than three
LOOKED_UP = 2**15  # hashes that a thread looks up at a time: few enough for a processor's caches
BLOCK = 2**18  # pairs that a thread compares at a time, about 10 MB

_UNIT = 1024  # represents 1 in a table
_ONE = STEP * STEP  # represents a gray level in a spectrum


def thumbnail(image: Image.Image) -> bytes:
    """Return the pixels that the features of an upright image are computed from."""
    return small_grayscale(image, SIZE).tobytes()


def features_of(thumbnails: Sequence[bytes]) -> list[str]:
    """Return the features of images as base64, from their thumbnails. One call for many images saves time.

    >>> sizes = (8, 8), (900, 3)
    >>> one, other = features_of([thumbnail(Image.new("L", size, 128)) for size in sizes])
    >>> one == other
    True
    """
    pixels = np.frombuffer(b"".join(thumbnails), np.uint8).reshape(-1, SIZE, SIZE)
    sums = _TRANSFORM @ pixels.astype(np.float64) @ _TRANSFORM.T
    levels = sums / (SIZE * SIZE * _UNIT * _UNIT)  # exact: a power of two
    levels[:, 0, 0] -= 128
    roots = np.rint(np.sqrt(np.abs(levels)) * STEP) * np.sign(levels)
    stored = np.clip(roots, -127, 127).astype(np.int8)
    return [base64.b64encode(each.tobytes()).decode() for each in stored]


def unpack(encoded: Sequence[str]) -> Features:
    """Decode features to (N, 14, 14) signed square roots, an eighth of the memory of their spectra."""
    data = b"".join(map(base64.b64decode, encoded))
    return np.frombuffer(data, dtype=np.int8).reshape(-1, BAND, BAND)


def spectra(features: Features) -> Floats:
    """Return the spectra of unpacked features: integers, with `STEP` squared for a gray level."""
    roots = features.astype(np.float64)
    return roots * np.abs(roots)


def hashes(spectrum: Floats) -> Hashes:
    """Return (N,) perceptual hashes of (N, 14, 14) spectra."""
    low = spectrum[:, :COMPARED, :COMPARED].reshape(-1, COMPARED * COMPARED)
    median = np.sort(low[:, 1:], axis=1)[:, 31:32]
    return np.packbits(low > median, axis=1).view(">u8")[:, 0].astype(np.uint64)


def without_border(spectrum: Floats) -> Floats:
    """Return the spectra of the images without their border."""
    crop = _cropping(BORDER, BORDER, BAND)
    return np.rint(crop @ spectrum @ crop.T / _UNIT**2)


def mirrored(spectrum: Floats) -> Floats:
    """Return the spectra of the images mirrored left to right, exactly: odd waves change their sign."""
    return spectrum * _MIRROR


def turned(spectrum: Floats) -> Floats:
    """Return the spectra of the images turned by a quarter, counterclockwise."""
    return spectrum.transpose(0, 2, 1) * _MIRROR[:, None]


def upside_down(spectrum: Floats) -> Floats:
    """Return the spectra of the images turned by half."""
    return spectrum * _MIRROR * _MIRROR[:, None]


def contrast(spectrum: Floats) -> Floats:
    """Return (N,) root mean squares of the compared frequencies, in gray levels."""
    return np.sqrt(_energy(spectrum)) / _ONE


FLAWS = ("", "image_uniform", "image_low_contrast", "image_blurred")
"""No visible flaw, and the keys of `fdrd.reasons.REASONS` for flaws, the worst first."""


def visible_flaws(features: Features) -> npt.NDArray[np.int64]:
    """Return (N,) the index in `FLAWS` of the worst flaw that (N, 14, 14) features show.

    >>> gray = features_of([thumbnail(Image.new("L", (8, 8), 128))])
    >>> [FLAWS[flaw] for flaw in visible_flaws(unpack(gray))]
    ['image_uniform']
    """
    spectrum = spectra(features)
    levels, energy = contrast(spectrum), spectrum**2
    coarse = energy[:, (_FREQUENCY > 1) & (_FREQUENCY <= 5)].sum(axis=1)
    detail = energy[:, _FREQUENCY >= 10].sum(axis=1)
    worst_last = [detail < MIN_DETAIL * coarse, levels < LOW_CONTRAST, levels < MIN_CONTRAST]
    flaw = np.zeros(len(features), np.int64)
    for index, shown in zip((3, 2, 1), worst_last, strict=True):
        flaw[shown] = index
    return flaw


def nearly_equal(spectrum: Floats, other: Floats) -> npt.NDArray[np.bool_]:
    """Return (N,) whether images differ from `other`, uncropped, by at most 1/`EQUAL` of its contrast."""
    difference = np.sum((spectrum - other)[:, :COMPARED, :COMPARED] ** 2, axis=(1, 2))
    return np.asarray(difference <= _energy(other[None]) / EQUAL**2)


def alike(first: Floats, second: Floats) -> npt.NDArray[np.bool_]:
    """Return (P,) whether the images of (P, 14, 14) spectra look alike, pair by pair."""
    bound = np.minimum(_energy(first), _energy(second)) / ALIKE**2
    difference = np.sum((first - second)[:, :COMPARED, :COMPARED] ** 2, axis=(1, 2))
    result: npt.NDArray[np.bool_] = difference <= bound
    # Cropping, tone and exposure take longer, so each is tried on the pairs that are left only.
    for one, other in ((first, second), (second, first)):
        todo = np.flatnonzero(~result)
        result[todo] = _least_difference(one[todo], other[todo]) <= bound[todo]
    near = np.bitwise_count(hashes(first) ^ hashes(second)) <= TONE_BITS
    for test, may_pass in ((_differ_in_tone_only, near), (_differ_in_exposure_only, True)):
        todo = np.flatnonzero(~result & may_pass)
        result[todo] = test(_samples(first[todo]), _samples(second[todo]))
    return result


def _samples(spectrum: Floats) -> Floats:
    """Return (P, 256) gray levels, smoothed."""
    levels = _SAMPLING.T @ spectrum @ _SAMPLING / _ONE + 128
    return np.asarray(levels.reshape(-1, SAMPLED * SAMPLED))


def _differ_in_tone_only(one: Floats, other: Floats) -> npt.NDArray[np.bool_]:
    """Return (P,) whether each image of a pair has the brightness of the other up to a rising curve."""
    result = np.zeros(len(one), dtype=bool)
    for differing, times in TONES:
        todo = np.flatnonzero(~result)
        for source, target in ((one, other), (other, one)):
            todo = todo[_tone_difference(source[todo], target[todo], differing) <= 1 / times]
        result[todo] = True
    return result


def _tone_difference(source: Floats, target: Floats, differing: float) -> Floats:
    """Return (P,) squared differences of (P, 256) pixels from the best quadratic curve of the source.

    They are relative to the contrast of the target. The fraction `differing` of the pixels, those that fit
    worst, does not count, unless they have most of the contrast. A curve that falls gives infinity.
    """
    # A curve fitted to a standardized level: its square and the level itself are of the same size.
    level = (source - source.mean(axis=1, keepdims=True)) / source.std(axis=1, keepdims=True)
    powers = np.stack([np.ones_like(level), level, level**2], axis=1)  # (P, 3, 256)
    last = round((1 - differing) * source.shape[1]) - 1
    used = np.ones_like(source)
    # Fit, leave out the pixels that fit worst, and fit again: the watermark does not bend the curve.
    for _ in range(4 if differing else 1):
        weighted = powers * used[:, None]
        # Solvable for flat images, too.
        square = weighted @ powers.transpose(0, 2, 1) + 1e-3 * np.eye(3)
        curve = np.linalg.solve(square, weighted @ target[:, :, None])  # (P, 3, 1)
        # Rounded, so that equal differences remain equal.
        difference = np.rint((target - (curve * powers).sum(axis=1)) * 1024) / 1024
        size = np.abs(difference)
        used = (size <= np.partition(size, last, axis=1)[:, last : last + 1]).astype(np.float64)
    mean = (used * target).sum(axis=1, keepdims=True) / used.sum(axis=1, keepdims=True)
    energy = (used * (target - mean) ** 2).sum(axis=1)
    ratio = (used * difference**2).sum(axis=1) / np.maximum(energy, 1e-9)
    # A falling curve is a negative. Pixels without half of the contrast prove nothing about the others.
    comparable = (curve[:, 1, 0] > 0) & (energy >= target.var(axis=1) * source.shape[1] / 2)
    return np.where(comparable, ratio, np.inf)


def _differ_in_exposure_only(one: Floats, other: Floats) -> npt.NDArray[np.bool_]:
    """Return (P,) whether one image of a pair is the other, brighter and cut at white."""
    return _exposes(one, other) | _exposes(other, one)


def _exposes(source: Floats, target: Floats) -> npt.NDArray[np.bool_]:
    """Return (P,) whether the target is a line of the source that is cut at white.

    Where the target may have been cut, only the line predicts it, and elsewhere each predicts the other.
    """
    used = (target < UNCUT).astype(np.float64)
    count = np.maximum(used.sum(axis=1, keepdims=True), 1)
    from_, to = (
        levels - (used * levels).sum(axis=1, keepdims=True) / count for levels in (source, target)
    )
    energy, energy_to = (used * from_**2).sum(axis=1), (used * to**2).sum(axis=1)
    common = (used * from_ * to).sum(axis=1)
    line = (common / np.maximum(energy, 1e-9))[:, None] * from_ + (target - to)
    difference = ((np.minimum(line, 255) - target) ** 2).mean(axis=1)  # cut as an exposure cuts it
    share = used.mean(axis=1)
    comparable = (
        (share >= LEAST_UNCUT)
        & (share <= MOST_UNCUT)
        & (common > 0)
        & (energy >= 0.1 * source.var(axis=1) * source.shape[1])
        & (energy_to >= MIN_CONTRAST**2 * count[:, 0])
    )
    return np.asarray(
        comparable
        & (difference * EXPOSURE <= target.var(axis=1))
        & ((energy * energy_to - common**2) * EXPOSURE <= energy * energy_to)
    )


def _least_difference(whole: Floats, part: Floats) -> Floats:
    """Return (P,) squared differences of `part` from the best crop of `whole`.

    The left and right strips are chosen first, then the upper and lower ones, and both once more.
    """
    target = part[:, :COMPARED, :COMPARED]
    # Two passes over 25 crops of each direction instead of one over all 625 combinations.
    rows = np.zeros(len(whole), dtype=np.int64)  # number of the vertical crop, 0 crops nothing
    least = np.zeros(len(whole))
    for _ in range(2):
        columns, _ = _best(_CROPPING[rows] @ whole / _UNIT, target)
        across = whole @ _CROPPING[columns].transpose(0, 2, 1) / _UNIT
        rows, least = _best(across.transpose(0, 2, 1), target.transpose(0, 2, 1))
    return least


def _best(spectrum: Floats, target: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return the crop along the last axis of (P, 8, 14) with the least difference, and that difference."""
    spectrum = np.rint(spectrum)
    least = np.full(len(target), np.inf)
    best = np.zeros(len(target), dtype=np.int64)
    for index, crop in enumerate(_CROPPING):
        difference = np.rint(spectrum @ crop.T / _UNIT) - target
        squared = np.einsum("pij,pij->p", difference, difference)
        better = squared < least
        best[better], least[better] = index, squared[better]
    return best, least


def _energy(spectrum: Floats) -> Floats:
    low = spectrum[:, :COMPARED, :COMPARED]
    return np.asarray(np.sum(low**2, axis=(1, 2)) - low[:, 0, 0] ** 2)


def _waves(positions: Floats, count: int) -> Floats:
    """Return (count, P) cosines over [0, 1] with a mean square of 1."""
    waves = [np.full(len(positions), 1.0)]
    waves += [math.sqrt(2) * np.cos(np.pi * positions * frequency) for frequency in range(1, count)]
    return np.stack(waves)


def _cropping(left: float, right: float, rows: int) -> Floats:
    """Return the (rows, 14) integer matrix from the frequencies of a line to those of its part."""
    positions = (np.arange(512) + 0.5) / 512
    parts = _waves(left + (1 - left - right) * positions, BAND)
    return np.rint(_waves(positions, rows) @ parts.T / 512 * _UNIT)


_TRANSFORM = np.rint(_waves((np.arange(SIZE) + 0.5) / SIZE, BAND) * _UNIT)
_SAMPLING = _waves((np.arange(SAMPLED) + 0.5) / SAMPLED, BAND)
_FREQUENCY = np.maximum.outer(np.arange(BAND), np.arange(BAND))  # the higher one of both directions
_MIRROR = np.where(np.arange(BAND) % 2, -1.0, 1.0)
_CROPPING = np.stack([_cropping(left, right, COMPARED) for left in CROPS for right in CROPS])


def near_pairs(hashes: Hashes, others: Hashes, radius: int) -> Iterator[tuple[Indices, Indices]]:
    """Yield all pairs of (N,) hashes and (M,) others within a Hamming distance of at most 15, in blocks.

    A pair is two indices; it may be repeated. Equal hashes are pairs, too.

    >>> blocks = near_pairs(np.array([0, 7], np.uint64), np.array([2**63, 6], np.uint64), 1)
    >>> sorted({pair for block in blocks for pair in zip(*map(np.ndarray.tolist, block))})
    [(0, 0), (1, 1)]
    """
    if radius >= 16:
        raise ValueError(f"the radius must be at most 15, got {radius}")
    with ThreadPoolExecutor(available_cores()) as threads:  # NumPy works outside of the lock
        for chunk in _chunks(4 if len(others) <= FEW else 3, radius):
            yield from _near_in_chunk(hashes, others, chunk, radius, threads)


class _Chunk(NamedTuple):
    """Position and width of a chunk in bits, and the masks that flip as many of them as may differ."""

    shift: int
    width: int
    masks: list[int]


def _chunks(count: int, radius: int) -> Iterator[_Chunk]:
    """Yield chunks of nearly equal width whose flips plus one add up to the radius plus one."""
    shift = 0
    for index in range(count):
        width = 64 // count + (index < 64 % count)
        most = (radius + 1) // count + (index < (radius + 1) % count) - 1
        flips = chain.from_iterable(combinations(range(width), n) for n in range(most + 1))
        yield _Chunk(shift, width, [sum(1 << bit for bit in bits) for bits in flips])
        shift += width


def _near_in_chunk(
    hashes: Hashes, others: Hashes, chunk: _Chunk, radius: int, threads: ThreadPoolExecutor
) -> Iterator[tuple[Indices, Indices]]:
    keys, order, sorted_hashes = _sorted(hashes, chunk)
    other_keys, other_order, sorted_others = _sorted(others, chunk)
    starts = np.zeros(2**chunk.width + 1, np.int32)
    np.cumsum(np.bincount(other_keys, minlength=2**chunk.width), out=starts[1:])
    occurs = starts[1:] > starts[:-1]

    def near(start: int) -> list[tuple[Indices, Indices]]:
        block = keys[start : start + LOOKED_UP].astype(np.intp)
        found = []
        for mask in chunk.masks:
            flipped = block ^ mask
            index = np.flatnonzero(occurs.take(flipped))  # few, so the large table is read rarely
            begin, end = starts.take(flipped[index]), starts.take(flipped[index] + 1)
            for one, other in _joined(index + start, begin, end):
                differing = np.bitwise_count(sorted_hashes.take(one) ^ sorted_others.take(other))
                if len(pairs := np.flatnonzero(differing <= radius)):
                    found.append((order[one[pairs]], other_order[other[pairs]]))
        return found

    for found in threads.map(near, range(0, len(hashes), LOOKED_UP)):
        yield from found


def _sorted(hashes: Hashes, chunk: _Chunk) -> tuple[npt.NDArray[np.int32], Indices, Hashes]:
    """Return the hashes in the order of a chunk: this key of each, its index, and itself."""
    keys = (hashes >> np.uint64(chunk.shift) & np.uint64(2**chunk.width - 1)).astype(np.int32)
    order = np.argsort(keys, kind="stable")
    return keys[order], order, hashes[order]


def _joined(index: Indices, begin: Indices, end: Indices) -> Iterator[tuple[Indices, Indices]]:
    """Yield each of (N,) indices with all numbers from its begin to its end, in blocks."""
    counts = end - begin
    ends = np.cumsum(counts)
    done = 0
    while done < len(index):
        before = ends[done - 1] if done else 0
        upto = max(done + 1, int(np.searchsorted(ends, before + BLOCK, side="right")))
        part = slice(done, upto)
        offsets = np.repeat(begin[part] - ends[part] + counts[part], counts[part])
        yield np.repeat(index[part], counts[part]), np.arange(before, ends[upto - 1]) + offsets
        done = upto
