"""Read and check the images of a source: decode, measure, and hash each of them."""

import hashlib
import io
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace
from PIL import Image, UnidentifiedImageError
from PIL import features as pillow

from fdrd.errors import FdrdError, first_line
from fdrd.files.paths import real_path_inside
from fdrd.images.containers import read_member
from fdrd.images.perceptual import features_of, thumbnail
from fdrd.images.pixels import display_rules, upright, upright_rgb
from fdrd.record import ImageRef

_READS_AVIF = "avif" in pillow.modules and pillow.check_module("avif")  # Pillow 11.3 on
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", *(["AVIF"] if _READS_AVIF else []))
_SIGNATURES = {  # of formats that are not read, by the bytes at an offset
    (4, b"ftypavif"): "AVIF is not read by this version of Pillow",
    (4, b"ftypheic"): "HEIC is not read",
    (4, b"ftypmif1"): "HEIC is not read",
    (4, b"JXL "): "JPEG XL is not read",
    (0, b"\xff\x0a"): "JPEG XL is not read",
    (4, b"jP  "): "JPEG 2000 is not read",
    (0, b"<svg"): "SVG is not read",
}

MAX_BYTES = 2**28  # maximum file size in bytes; larger files are rejected without being read


class ImageCheck(Struct, frozen=True, gc=False):
    """Result of checking one image: digest and size of the file, size of the upright image, or why it is rejected.

    `reason` is empty for a good image, else a key of `fdrd.reasons.REASONS`, which `detail` explains. `features` are
    perceptual (`fdrd.images.perceptual`). `rules` are keys of `fdrd.reasons.RULES` for how the image is displayed.
    """

    sha256: str = ""
    bytes: int = 0
    width: int = 0
    height: int = 0
    reason: str = ""
    detail: str = ""
    features: str = ""
    rules: tuple[str, ...] = ()


_Decoded = tuple[ImageCheck, bytes]  # a check without features, and the thumbnail of a good image
_QUIET = partial(warnings.catch_warnings, action="ignore", category=Image.DecompressionBombWarning)
"""Silences Pillow's warning of large images. Our pixel limit is stricter and gives a counted rejection."""


class TooManyBytesError(ValueError):
    """An image file has more than `MAX_BYTES`."""


def read_image(root: str, image: ImageRef) -> bytes:
    """Return the bytes of an image in a file below the root.

    Raises:
        PermissionError: a link leads out of the root.
        TooManyBytesError: the image has more than `MAX_BYTES`.
        LookupError: the member or row has no image.
        OSError: the file cannot be read.
    """
    file = real_path_inside(root, image.path)
    if image.member:
        data = read_member(Path(file), image.member)
        _check_size(len(data))
        return data
    with open(file, "rb", buffering=0) as opened:  # noqa: PTH123 - called twice per image
        _check_size(os.fstat(opened.fileno()).st_size)
        return opened.read()


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise TooManyBytesError(f"{size} bytes, the limit is {MAX_BYTES}")


def check_images(root: str, images: Sequence[ImageRef], max_pixels: int) -> list[ImageCheck]:
    """Read, decode and hash images. A bad image gives a reason, never an exception."""
    with _QUIET():
        return _with_features([_check_image(root, image, max_pixels) for image in images])


def check_image(root: str, image: ImageRef, max_pixels: int) -> ImageCheck:
    """Read, decode and hash one image, as `check_images` does."""
    return check_images(root, [image], max_pixels)[0]


def _check_image(root: str, image: ImageRef, max_pixels: int) -> _Decoded:
    try:
        data = read_image(root, image)
    except TooManyBytesError as error:
        reason, detail = "image_too_large", str(error)
    except LookupError as error:
        reason, detail = "image_missing", str(error)
    except PermissionError as error:
        outside = "leaves the source folder" in str(error)
        reason, detail = "path_outside" if outside else "read_error", str(error)
    except OSError as error:
        reason, detail = "read_error", f"{error.strerror}: {image.path}"
    else:
        return _decode(data, max_pixels)
    return ImageCheck(reason=reason, detail=detail), b""


def check_image_bytes(data: bytes, max_pixels: int) -> ImageCheck:
    """Decode and hash the bytes of one image file."""
    with _QUIET():
        return _with_features([_decode(data, max_pixels)])[0]


def _with_features(decoded: Sequence[_Decoded]) -> list[ImageCheck]:
    """Add the features of the good images to their checks, all at once."""
    features = iter(features_of([pixels for _, pixels in decoded if pixels]))
    return [replace(each, features=next(features)) if pixels else each for each, pixels in decoded]


def _decode(data: bytes, max_pixels: int) -> _Decoded:
    sha256 = hashlib.sha256(data).hexdigest()

    def bad(reason: str, detail: str) -> _Decoded:
        return ImageCheck(sha256, len(data), reason=reason, detail=detail), b""

    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        return bad("not_an_image", f"{_kind(data)}; accepted are {', '.join(FORMATS)}")
    except Image.DecompressionBombError as error:
        return bad("image_too_large", str(error))
    except Exception as error:  # Pillow's decoders raise many types on hostile headers
        return bad("image_broken", f"{type(error).__name__}: {error}")
    width, height = image.size
    if width * height > max_pixels:
        detail = f"{width} x {height} pixels, the limit is {max_pixels} in all"
        return bad("image_too_large", detail)
    try:
        # Decoding the luminance of a JPEG is enough to see that its data is complete.
        image.draft("L", image.size)
        image.load()
        rules = display_rules(image)
        turned = upright(image)
        pixels = thumbnail(turned)
    except Exception as error:  # as above, now in the pixel data
        return bad("image_broken", f"{type(error).__name__}: {error}")
    return ImageCheck(sha256, len(data), *turned.size, rules=rules), pixels


def _kind(data: bytes) -> str:
    """Return what data is that no reader of images accepts."""
    named = (name for (at, start), name in _SIGNATURES.items() if data.startswith(start, at))
    return next(named, f"begins with {data[:16]!r}" if data else "no bytes")


def open_image(path: Path, max_pixels: int = 50_000_000) -> Image.Image:
    """Check and decode an image file of the user, upright and in RGB. Raise `FdrdError` if that is not possible."""
    try:
        _check_size(path.stat().st_size)
        data = path.read_bytes()
    except OSError as error:
        raise FdrdError(f"{path}: {error.strerror}; give an image file") from error
    except TooManyBytesError as error:
        raise FdrdError(f"{path}: {error}") from error
    check = check_image_bytes(data, max_pixels)
    if check.reason:
        raise FdrdError(f"{path}: {check.detail}")
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return upright_rgb(image)


@contextmanager
def opened_image(data: bytes, origin: str) -> Iterator[Image.Image]:
    """Open an image of a dataset, whose bytes may be anything; `origin` names it in an error.

    Raise `FdrdError` if the image does not decode, here or while the block uses it.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            yield image
    except FdrdError:
        raise
    except Exception as error:  # Pillow raises many types for broken files
        unknown = isinstance(error, UnidentifiedImageError)
        why = f"it is none of {', '.join(FORMATS)}" if unknown else first_line(error)
        remedy = "`fdrd validate --images` lists all such images"
        raise FdrdError(f"{origin}: the image does not decode ({why}); {remedy}") from error
