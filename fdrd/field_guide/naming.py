"""Invented names in the style of field guides: an epithet and the noun of the genus.

The noun identifies the meta-category and the genus, as `warbler` does. Neither word says what the
category looks like, because names are drawn independently of the signature.
"""

from __future__ import annotations

from collections.abc import Sequence

from fdrd.field_guide.chance import Chance

ONSETS = (
    "T", "M", "K", "D", "B", "V", "L", "R", "N", "P", "G", "F", "H", "S", "J", "W", "Dr", "Tr",
    "Gr", "Br",
)  # fmt: skip
RIMES = ("ar", "el", "in", "or", "ir", "an", "il", "en", "ol", "ev")

EPONYMS = (
    "Marlow", "Fenn", "Hale", "Brandt", "Castor", "Dunmore", "Elgar", "Farrow", "Garland", "Hobart",
    "Irving", "Jarvis", "Kessler", "Lomax", "Merrick", "Norwood", "Orton", "Pascoe", "Quayle",
    "Radley", "Selwyn", "Tennant", "Upton", "Varley", "Wexford", "Yates", "Zeller", "Abbott",
    "Bligh", "Corbin", "Dalby", "Everard", "Fitch", "Gresham", "Hollis", "Inman", "Joyce", "Kemp",
    "Latimer", "Munro",
)  # fmt: skip
EPITHETS = (
    "Common", "Northern", "Southern", "Eastern", "Western", "Upland", "Lowland", "Coastal",
    "Island", "Alpine", "Royal", "Noble", "Quiet", "Hidden", "Wandering", "Solitary", "False",
    "True", "Elder", "Lesser", "Greater", "Harbor", "Valley", "Autumn", "Winter", "Summer",
    "Sunday", "Pilgrim", "Hermit", "Abbey",
)  # fmt: skip


def genus_noun(endings: Sequence[str], genus: int) -> str:
    """Return the noun of a genus, unique for every number below 200 times the endings.

    >>> genus_noun(("rel", "wit"), 0), genus_noun(("rel", "wit"), 1)
    ('Tarrel', 'Melwit')
    """
    stem, ending = genus % 200, endings[(genus + genus // 200) % len(endings)]
    onset, rime = ONSETS[stem % 20], RIMES[(stem + stem // 20) % 10]
    return onset + rime + ending


def epithets(count: int, chance: Chance) -> list[str]:
    """Return different epithets for the species of a genus."""
    return chance.shuffled([*(f"{eponym}'s" for eponym in EPONYMS), *EPITHETS])[:count]
