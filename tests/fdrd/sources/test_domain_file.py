"""domain.toml completes records; errors name the file, the key and a remedy."""

import pytest
from msgspec import to_builtins

from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build
from fdrd.record import ImageRef, Record, Source
from fdrd.sources import find_domains, read_domain

GOOD = """
license = "CC-BY-4.0"
homepage = "https://example.org/birds"
citation = "@misc{birds}"
group = "{group}_c*"

[meta_categories]
songbird = ["house_wren", "Robin"]
other = "*"
"""


def draw_domain(write, draw, folder, text=None):
    names = ("house_wren/v_a_g08_c01", "house_wren/v_a_g08_c02", "robin/b", "owl/c")
    for number, name in enumerate(names):
        write(f"{folder}{name}.png", draw(number))
        write(f"{folder}{name}.txt", f"A {name.split('/')[0]} in shade {number}.")
    if text is not None:
        write(f"{folder}domain.toml", text)


def test_fields_that_records_lack_are_filled_in(write, draw, read):
    draw_domain(write, draw, "", GOOD)
    line = {"file_name": "robin/b.png", "caption": "A robin.", "license": "CC0-1.0", "group": "own"}
    write("metadata.jsonl", {**line, "meta_category": "thrush"})
    found = {item.image.path: item for item in read("image_folder")}
    completed = {
        path: (item.meta_category, item.group, item.source.license) for path, item in found.items()
    }
    assert completed == {
        "house_wren/v_a_g08_c01.png": ("songbird", "v_a_g08", "CC-BY-4.0"),
        "house_wren/v_a_g08_c02.png": ("songbird", "v_a_g08", "CC-BY-4.0"),
        "robin/b.png": ("thrush", "own", "CC0-1.0"),
        "owl/c.png": ("other", "", "CC-BY-4.0"),
    }


def test_manifest_and_card_repeat_it_for_each_domain(tmp_path, write, draw):
    draw_domain(write, draw, "birds/", GOOD)
    draw_domain(write, draw, "more/")
    built = build(tmp_path / "raw", tmp_path / "out", workers=1)
    about = {"license": "CC-BY-4.0", "homepage": "https://example.org/birds"}
    about |= {"citation": "@misc{birds}", "meta_categories": ["songbird", "other"]}
    assert to_builtins(built.manifest.domains) == [
        {"name": "birds", "reader": "image_folder", **about},
        {"name": "more", "reader": "image_folder"},
    ]
    assert built.manifest.licenses == {"CC-BY-4.0": 4}
    card = (tmp_path / "out/README.md").read_text()
    assert "| birds | CC-BY-4.0 | `image_folder` | <https://example.org/birds> | 4 |" in card
    assert r"- birds: @misc\{birds\}" in card


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("license = ", "cannot be read"),
        (b"\xff", "cannot be read"),
        ("a = " + "[" * 100_000, "cannot be read"),
        ('home_page = "x"', "did you mean `homepage`?"),
        ('color = "x"', "known keys: license"),
        ("license = 3", "`license` is 3; give a string"),
        ('licence = "a"', "did you mean `license`"),
        (f'license = "{"x" * 201}"', "SPDX"),
        ('homepage = "javascript:alert(1)"', "start it with https://"),
        ('homepage = "https://a.org/><script>"', "start it with https://"),
        ('group = "g*"', "use {group} once"),
        ('group = "{group}*a*b*c"', "at most 2 times"),
        ("meta_categories = 3", "is not a table"),
        ("[meta_categories]\nsongbird = 3", "`meta_categories.songbird` is not a list"),
        ("[meta_categories]\nsongbird = []", "is empty"),
        ('[meta_categories]\na = ["owl"]\nb = ["Owl"]', "lists 'Owl', and so does 'a'"),
        ('[meta_categories]\na = ["house_wern"]', "did you mean 'house wren'?"),
        ("# " + "x" * 2**20, "shorten it"),
    ],
)
def test_invalid_values_are_refused(tmp_path, write, draw, text, message):
    draw_domain(write, draw, "birds/", text)
    with pytest.raises(FdrdError) as raised:
        [list(read_domain(tmp_path / "raw", domain)) for domain in find_domains(tmp_path / "raw")]
    assert "birds/domain.toml" in str(raised.value)
    assert message in str(raised.value)


def test_a_link_out_of_the_source_is_refused(tmp_path, write, draw):
    (tmp_path / "outside.toml").write_text('license = "secret"')
    draw_domain(write, draw, "")
    (tmp_path / "raw/domain.toml").symlink_to("../outside.toml")
    with pytest.raises(FdrdError, match="leaves the source folder"):
        find_domains(tmp_path / "raw")


def test_a_group_may_be_a_folder_and_long_names_do_not_match():
    from fdrd.sources.domain_file import DomainCompleter, DomainInfo

    def group(pattern, path):
        record = Record("1", ImageRef(path), "A.", "wren", Source(path))
        return DomainCompleter(DomainInfo(group=pattern)).complete(record).group

    assert group("{group}/*", "a/clip 7/frame.png") == "clip 7"
    assert group("{group}/*", "frame.png") == ""
    assert group("*a{group}a*b", "a" * 100_000 + ".png") == ""
