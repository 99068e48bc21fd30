"""Images of a source: bytes that are read from inside its folder only, decoded to be believed, and digested.

An image is examined once per content of the file; what was found is kept by the builder's ledger.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from fdrd.errors import FdrdError
from fdrd.files.safe_open import resolve_inside
from fdrd.images.containers import read_member
from fdrd.images.perceptual import look_of
from fdrd.images.pixels import as_seen, rules_of, upright
from fdrd.record import ImageRef

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")


@dataclass(frozen=True, slots=True)
class ImageCheck:
    """What is known of an image file.

    `reason` is empty for a good one, else a key of `fdrd.reasons.REASONS`. `look` is what it looks like
    (`fdrd.images.perceptual`), `rules` what must be done to see it (`fdrd.images.pixels`).
    Width and height are those of the upright image.
    """

    sha256: str = ""
    bytes: int = 0
    width: int = 0
    height: int = 0
    reason: str = ""
    detail: str = ""
    look: str = ""
    rules: tuple[str, ...] = ()


MAX_BYTES = 2**28
"""Above this many an image is not read: it would fill the memory of a worker."""


class TooManyBytesError(ValueError):
    """An image that is too large to be read at all."""


def read_image(root: str, image: ImageRef) -> bytes:
    """The bytes of an image that lies in a file below the root.

    Raises:
        PermissionError: a link on the way leads out of the root.
        TooManyBytesError: there are more than `MAX_BYTES`.
        LookupError: the member or row of the file holds none.
        OSError: the operating system would not give the bytes.
    """
    if not image.member:
        return read_inside(root, image.path)
    data = read_member(resolve_inside(root, image.path), image.member)
    if len(data) > MAX_BYTES:
        raise TooManyBytesError(f"{len(data)} bytes, the limit is {MAX_BYTES}")
    return data


def read_inside(root: str, path: str) -> bytes:
    """The bytes of a file below the root; raises as `read_image` does."""
    file = resolve_inside(root, path)
    size = file.stat().st_size
    if size > MAX_BYTES:
        raise TooManyBytesError(f"{size} bytes, the limit is {MAX_BYTES}")
    return file.read_bytes()


def examine(root: str, image: ImageRef, max_pixels: int) -> ImageCheck:
    """Reads, decodes and digests one image. Never raises for a bad image; says why it is one."""
    try:
        data = read_image(root, image)
    except TooManyBytesError as error:
        return ImageCheck(reason="image_too_large", detail=str(error))
    except LookupError as error:
        return ImageCheck(reason="image_missing", detail=str(error))
    except PermissionError as error:
        outside = "leaves the source folder" in str(error)
        return ImageCheck(reason="path_outside" if outside else "read_error", detail=str(error))
    except OSError as error:
        return ImageCheck(reason="read_error", detail=f"{error.strerror}: {image.path}")
    return examine_bytes(data, max_pixels)


def examine_bytes(data: bytes, max_pixels: int) -> ImageCheck:
    """What the bytes of one image are worth; width and height are those of the upright image."""
    sha256 = hashlib.sha256(data).hexdigest()

    def bad(reason: str, detail: str) -> ImageCheck:
        return ImageCheck(sha256, len(data), reason=reason, detail=detail)

    try:
        with warnings.catch_warnings():
            # The pixel limit below is stricter and is a counted rejection.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        begins = "no bytes" if not data else f"begins with {data[:16]!r}"
        return bad("not_an_image", f"{begins}; accepted are {', '.join(FORMATS)}")
    except Image.DecompressionBombError as error:
        return bad("image_too_large", str(error))
    except Exception as error:  # Pillow's decoders raise many types on hostile headers
        return bad("image_broken", f"{type(error).__name__}: {error}")
    width, height = image.size
    if width * height > max_pixels:
        return bad(
            "image_too_large", f"{width} x {height} pixels, the limit is {max_pixels} in all"
        )
    try:
        # A JPEG's colours need not be put together to know that all of its data is there.
        image.draft("L", image.size)
        image.load()
        rules = rules_of(image)
        seen = upright(image)
        look = look_of(seen)
    except Exception as error:  # as above, now in the pixel data
        return bad("image_broken", f"{type(error).__name__}: {error}")
    return ImageCheck(sha256, len(data), *seen.size, look=look, rules=rules)


def open_picture(path: Path, max_pixels: int = 50_000_000) -> Image.Image:
    """A picture that somebody asks with, as a person sees it.

    Raises:
        FdrdError: the file is missing, no picture, damaged, or too large.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise FdrdError(f"{path}: more than {MAX_BYTES} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise FdrdError(f"{path}: {error.strerror}; give the file of a picture") from error
    examined = examine_bytes(data, max_pixels)
    if examined.reason:
        raise FdrdError(f"{path}: {examined.detail}")
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return as_seen(image)
