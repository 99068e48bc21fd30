"""One drawn image-caption pair: a pure function from (seed, category, image number) to bytes."""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from fdrd.field_guide import scene
from fdrd.field_guide.caption import caption
from fdrd.field_guide.chance import Chance
from fdrd.field_guide.sketch import Placement, Sketch, placed, render
from fdrd.field_guide.taxonomy import Category, Sighting, sight
from fdrd.field_guide.traits import Look
from fdrd.record import Attribute


@dataclass(frozen=True, slots=True)
class Plate:
    """An image as `pixels` (size, size, 3), its caption and the attribute spans of the caption."""

    sighting: Sighting
    pixels: npt.NDArray[np.uint8]
    caption: str
    attributes: tuple[Attribute, ...]

    @property
    def image(self) -> Image.Image:
        """Return the image for Pillow."""
        return Image.fromarray(self.pixels)

    def encoded(self) -> bytes:
        """Return the image as the bytes of a JPEG file.

        JPEG is reproducible: libjpeg-turbo's default transform uses integers, and its own tests
        require the same bytes from every release and processor. PNG depends on the zlib release,
        and WebP's encoder uses floats. Colors are not subsampled.
        """
        file = io.BytesIO()
        self.image.save(file, "JPEG", quality=90, subsampling=0)
        return file.getvalue()


def draw(category: Category, image: int, *, seed: int = 0, size: int = 128) -> Plate:
    """Draw one image of a category and write its caption.

    The result depends on the arguments alone, so any subset can be drawn in any order.

    Args:
        category: from `categories()`.
        image: number of the image within its category, from 0.
        seed: seed of the dataset.
        size: width and height in pixels. Captions omit details too small to see.
    """
    sighting = sight(category, image, seed)
    text, attributes = caption(sighting, size)
    return Plate(sighting, _pixels(sighting, size), text, attributes)


SPOTS: dict[int, tuple[tuple[float, float], ...]] = {
    1: ((0.0, 0.0),),
    2: ((-0.46, -0.2), (0.46, 0.2)),
    3: ((-0.5, -0.44), (0.5, -0.38), (0.0, 0.48)),
}
"""Centers of the subjects by their count, in a frame from -1 to 1."""


def _pixels(sighting: Sighting, size: int) -> npt.NDArray[np.uint8]:
    """Return the (size, size, 3) pixels of a sighting."""
    chance = Chance(*sighting.key, "picture")
    frame = Placement(size / 2, size / 2, size / 2)

    backdrop = Sketch()
    base = scene.GROUNDS[sighting.ground](backdrop, chance)
    canvas = np.tile(np.array(base, np.int16)[:, None, None], (1, size, size))
    render(canvas, placed(backdrop, [frame]))

    subject = Sketch()
    sighting.category.kind.draw(subject, Look(sighting.values, *sighting.individual, "color"))
    shapes = placed(subject, _placements(sighting, size, chance))
    shadow = scene.shadow(sighting.light, size)
    render(canvas, shapes, contour=max(size / 128, 0.5), shadow=shadow)

    front = Sketch()
    scene.cover(front, sighting.cover, chance)
    render(canvas, placed(front, [frame]), contour=size / 192)

    canvas = scene.grain(scene.shine(canvas, sighting.light, chance), chance)
    return np.ascontiguousarray(canvas.transpose(1, 2, 0).astype(np.uint8))


def _placements(sighting: Sighting, size: int, chance: Chance) -> list[Placement]:
    """Place each subject in a frame of `size` pixels, slightly shifted, turned and squeezed."""
    (viewpoint,) = (trait for trait in sighting.category.kind.traits if trait.type == "viewpoint")
    view = next(v for v in viewpoint.values if v.key == sighting.values[viewpoint.name])
    slack = (1 - sighting.share) * 0.7 if sighting.count == 1 else 0.06
    flip = sighting.count == 2 and chance.happens(0.5)
    return [
        Placement(
            x=(1 + ((-x if flip else x) + chance.between(-slack, slack))) * size / 2,
            y=(1 + (y + chance.between(-slack, slack))) * size / 2,
            unit=sighting.share * size / 2 * chance.between(0.95, 1.0),
            turn=view.turn + chance.below(81) - 40,
            mirror=view.mirror,
            squeeze=chance.between(0.9, 1.0),
        )
        for x, y in SPOTS[sighting.count]
    ]
