"""domain.toml completes records and is refused with file, key and remedy."""

import json

import pytest

from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build
from fdrd.record import ImageRef, Record, Source
from fdrd.sources import find_domains, read_domain

GOOD = """
licence = "CC-BY-4.0"
homepage = "https://example.org/birds"
citation = "@misc{birds}"
group = "{group}_c*"

[meta_categories]
songbird = ["house_wren", "Robin"]
other = "*"
"""


def draw_domain(write, draw, folder, text=None):
    for number, (category, name) in enumerate(
        [("house_wren", "v_a_g08_c01"), ("house_wren", "v_a_g08_c02"), ("robin", "b"), ("owl", "c")]
    ):
        write(f"{folder}{category}/{name}.png", draw(number))
        write(f"{folder}{category}/{name}.txt", f"A {category} in shade {number}.")
    if text is not None:
        write(f"{folder}domain.toml", text)


def test_it_completes_records_that_say_nothing_themselves(tmp_path, write, draw):
    draw_domain(write, draw, "", GOOD)
    line = {"file_name": "robin/b.png", "caption": "A robin.", "license": "CC0-1.0", "group": "own"}
    write("metadata.jsonl", {**line, "meta_category": "thrush"})
    (domain,) = find_domains(tmp_path / "raw")
    found = {item.image.path: item for item in read_domain(tmp_path / "raw", domain)}
    wren, robin, owl = (
        found[path] for path in ("house_wren/v_a_g08_c01.png", "robin/b.png", "owl/c.png")
    )
    assert (wren.meta_category, wren.group, wren.source.license) == (
        "songbird",
        "v_a_g08",
        "CC-BY-4.0",
    )
    assert wren.group == found["house_wren/v_a_g08_c02.png"].group
    assert (robin.meta_category, robin.group, robin.source.license) == ("thrush", "own", "CC0-1.0")
    assert (owl.meta_category, owl.group) == ("other", "")


def test_the_manifest_and_the_card_repeat_it_for_each_domain(tmp_path, write, draw):
    draw_domain(write, draw, "birds/", GOOD)
    draw_domain(write, draw, "more/")
    built = build(tmp_path / "raw", tmp_path / "out", workers=1)
    assert built.manifest["domains"] == [
        {
            "name": "birds",
            "reader": "image_folder",
            "licence": "CC-BY-4.0",
            "homepage": "https://example.org/birds",
            "citation": "@misc{birds}",
            "meta_categories": ["songbird", "other"],
        },
        {"name": "more", "reader": "image_folder"},
    ]
    assert built.manifest["licences"] == {"CC-BY-4.0": 4}
    card = (tmp_path / "out/README.md").read_text()
    assert "| birds | CC-BY-4.0 | 4 | `image_folder` | <https://example.org/birds> |" in card
    assert r"- birds: @misc\{birds\}" in card


def test_a_changed_domain_file_is_a_changed_source(tmp_path, write, draw):
    draw_domain(write, draw, "", GOOD)
    build(tmp_path / "raw", tmp_path / "out", workers=1)
    assert build(tmp_path / "raw", tmp_path / "out", workers=1).nothing_to_do
    write("domain.toml", GOOD.replace("CC-BY-4.0", "CC0-1.0"))
    built = build(tmp_path / "raw", tmp_path / "out", workers=1)
    assert "CC0-1.0" in json.dumps(built.manifest["licences"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("licence = ", "cannot be read"),
        (b"\xff", "cannot be read"),
        ("a = " + "[" * 100_000, "cannot be read"),
        ('home_page = "x"', "did you mean `homepage`?"),
        ('colour = "x"', "known are licence"),
        ("licence = 3", "`licence` is 3; give a text"),
        ('license = "a"\nlicence = "b"', "keep one"),
        (f'licence = "{"x" * 201}"', "SPDX"),
        ('homepage = "javascript:alert(1)"', "begin it with https://"),
        ('homepage = "https://a.org/><script>"', "begin it with https://"),
        ('group = "g*"', "name {group} once"),
        ('group = "{group}*a*b*c"', "at most 2 times"),
        ("meta_categories = 3", "is no table"),
        ("[meta_categories]\nsongbird = 3", "`meta_categories.songbird` is no list"),
        ("[meta_categories]\nsongbird = []", "is empty"),
        ('[meta_categories]\na = ["owl"]\nb = ["Owl"]', "lists 'Owl', as 'a' does"),
        ('[meta_categories]\na = ["house_wern"]', "did you mean 'house wren'?"),
        ("# " + "x" * 2**20, "keep it short"),
    ],
)
def test_what_makes_no_sense_is_refused_with_file_key_and_remedy(tmp_path, write, draw, text, said):
    draw_domain(write, draw, "birds/", text)
    with pytest.raises(FdrdError) as raised:
        [list(read_domain(tmp_path / "raw", domain)) for domain in find_domains(tmp_path / "raw")]
    assert "birds/domain.toml" in str(raised.value)
    assert said in str(raised.value)


def test_a_link_out_of_the_source_is_not_followed(tmp_path, write, draw):
    (tmp_path / "outside.toml").write_text('licence = "secret"')
    draw_domain(write, draw, "")
    (tmp_path / "raw/domain.toml").symlink_to("../outside.toml")
    with pytest.raises(FdrdError, match="leaves the source folder"):
        find_domains(tmp_path / "raw")


def test_a_group_may_be_a_folder_and_long_names_cost_no_time():
    from fdrd.sources.domain_file import About, Completer

    def group(pattern, path):
        record = Record("1", ImageRef(path), "A.", "wren", Source(path))
        return Completer(About(group=pattern)).complete(record).group

    assert group("{group}/*", "a/clip 7/frame.png") == "clip 7"
    assert group("{group}/*", "frame.png") == ""
    assert group("*a{group}a*b", "a" * 100_000 + ".png") == ""
