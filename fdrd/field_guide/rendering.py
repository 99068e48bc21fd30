"""Render a sighting as pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fdrd.field_guide import scene
from fdrd.field_guide.chance import Chance
from fdrd.field_guide.sighting import Sighting
from fdrd.field_guide.sketch import Placement, Shadow, Sketch, placed, render
from fdrd.field_guide.traits import Look

SPOTS: dict[int, tuple[tuple[float, float], ...]] = {
    1: ((0.0, 0.0),),
    2: ((-0.46, -0.2), (0.46, 0.2)),
    3: ((-0.5, -0.44), (0.5, -0.38), (0.0, 0.48)),
}
"""Centers of the subjects by their count, in a frame from -1 to 1."""


def render_pixels(sighting: Sighting, size: int) -> npt.NDArray[np.uint8]:
    """Return the (size, size, 3) pixels of a sighting."""
    chance = Chance(*sighting.key, "picture")
    frame = Placement(size / 2, size / 2, size / 2)

    backdrop = Sketch()
    base = scene.ground(backdrop, sighting.ground, chance)
    canvas = np.empty((3, size, size), np.int16)
    canvas[:] = np.array(base, np.int16)[:, None, None]
    unshaded = Shadow(0, 0, 0)
    render(canvas, placed(backdrop, [frame]), contour=0.0, shadow=unshaded)

    subject = Sketch()
    sighting.category.kind.draw(subject, Look(sighting.values, *sighting.own, "color"))
    render(
        canvas,
        placed(subject, placements(sighting, size, chance)),
        contour=max(size / 128, 0.5),
        shadow=scene.shadow(sighting.light, size),
    )
    front = Sketch()
    scene.cover(front, sighting.cover, chance)
    render(canvas, placed(front, [frame]), contour=size / 192, shadow=unshaded)

    canvas = scene.grain(scene.shine(canvas, sighting.light, chance), chance)
    return np.ascontiguousarray(canvas.transpose(1, 2, 0).astype(np.uint8))


def placements(sighting: Sighting, size: int, chance: Chance) -> list[Placement]:
    """Place each subject in a frame of `size` pixels, slightly shifted, turned and squeezed."""
    (viewpoint,) = (trait for trait in sighting.category.kind.traits if trait.type == "viewpoint")
    view = next(v for v in viewpoint.values if v.key == sighting.values[viewpoint.name])
    slack = (1 - sighting.share) * 0.7 if sighting.count == 1 else 0.06
    flip = sighting.count == 2 and chance.happens(0.5)
    found = []
    for x, y in SPOTS[sighting.count]:
        x, y = (
            (-x if flip else x) + chance.between(-slack, slack),
            y + chance.between(-slack, slack),
        )
        found.append(
            Placement(
                x=(1 + x) * size / 2,
                y=(1 + y) * size / 2,
                unit=sighting.share * size / 2 * chance.between(0.95, 1.0),
                turn=view.turn + chance.below(81) - 40,
                mirror=view.mirror,
                squeeze=chance.between(0.9, 1.0),
            )
        )
    return found
