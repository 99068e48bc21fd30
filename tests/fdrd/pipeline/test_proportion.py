"""The work of a build grows with the size of its source."""

import re

from fdrd.negatives import draw as drawing
from fdrd.negatives import given, make_catalog
from fdrd.negatives.given import parse_given
from fdrd.pipeline.builder import build
from fdrd.record import ImageRef, Record, Source
from fdrd.text import mentions


def build_one_image(write, draw, folder, captions):
    write("wren/1.png", draw(1))
    lines = [f"A wren sits on branch {number}." for number in range(captions)]
    write("wren/1.txt", "\n".join(lines))
    return build(folder / "raw", folder / "out", workers=1).manifest.records.kept


def test_captions_of_one_image_are_not_compared_with_each_other(write, draw, tmp_path, monkeypatch):
    compared, plain = [], given.plain
    for module in (drawing, given):
        monkeypatch.setattr(module, "plain", lambda text: compared.append(text) or plain(text))
    few = build_one_image(write, draw, tmp_path, 50)
    first = len(compared)
    many = build_one_image(write, draw, tmp_path, 200)
    assert (few, many) == (50, 200)
    assert len(compared) - first <= 5 * first


def compiled_letters(monkeypatch, names):
    """Return how many letters of patterns a catalog of these names compiles, per letter of the names."""
    for cache in (mentions._compiled, mentions._shared_pattern, mentions.category_pattern):
        cache.cache_clear()
    letters, compile_ = [], re.compile

    def counting(pattern, flags=0):
        letters.append(len(pattern))
        return compile_(pattern, flags)

    captions = {name: f"A {name} sits." for name in names}
    records = [
        Record(name, ImageRef("1.jpg"), caption, name, Source("1.jpg"))
        for name, caption in captions.items()
    ]
    with monkeypatch.context() as patched:
        patched.setattr(mentions.re, "compile", counting)
        catalog = make_catalog(records)
    assert [each.spellings for each in catalog.categories] == [(name,) for name in sorted(names)]
    return sum(letters) / sum(map(len, names))


def test_patterns_of_nested_names_have_no_names_that_captions_lack(monkeypatch):
    few, many = (
        compiled_letters(monkeypatch, ["very " * number + "bird" for number in range(count)])
        for count in (10, 40)
    )
    assert many <= 1.5 * few


def test_a_given_negative_of_many_mentions_is_parsed_in_bounded_time():
    catalog = make_catalog([], names=["猫", "狗", "cat"])
    found, _ = parse_given("a" * 60 + "!", "猫" * 20, "猫", catalog)
    assert (found.kind, found.category) == ("attribute", "猫")
    swapped, _ = parse_given("狗在狗上", "猫在猫上", "猫", catalog)
    assert (swapped.kind, swapped.category) == ("category", "狗")
