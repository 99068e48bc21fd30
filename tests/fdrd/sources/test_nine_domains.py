"""The nine domains of the paper: the public image trees as CoOp's DATASETS.md lays them out, and captions beside them.

Trees are drawn here after each layout, with the spellings of categories that its annotations have.
"""

import pytest

from fdrd.reasons import Rejection
from fdrd.sources.layouts import released
from fdrd.sources.reading.source_folder import SourceFolder

FAR = "/root/autodl-tmp/someone/CoOp-main/DATA"  # record paths are those of another machine

DOMAINS = """
caltech-101: inter_caltech-101_train.json
    101_ObjectCategories/accordion/image_0001.jpg | accordion_image_0001.jpg | accordion
    101_ObjectCategories/ant/image_0001.jpg | ant_image_0001.jpg | ant
    101_ObjectCategories/Faces/image_0001.jpg | Faces_image_0001.jpg | face
oxford_pets: pets_test.json
    images/Sphynx_43.jpg | Sphynx_43 |
    images/american_bulldog_87.jpg | american_bulldog_87 |
stanford_cars: inter_cars_train.json
    cars_train/00001.jpg | 00001.jpg | 1991 Audi 100 Sedan
    cars_train/00002.jpg | 2012 Acura TL Sedan_00002.jpg | 2012 Acura TL Sedan
    cars_train/00003.jpg | cars_train_00003.jpg | 2011 Dodge Dakota Club Cab
    cars_test/00001.jpg
    cars_test/00002.jpg
oxford_flowers: flower_test.json
    jpg/image_06422.jpg | monkshood_image_06422 | monkshood
    jpg/image_06423.jpg | ball moss_image_06423 | ball moss
    jpg/image_06424.jpg | bird_of_paradise_image_06424 | bird of paradise
food-101: inter_food101_train.json
    images/apple_pie/1005649.jpg | apple_pie_1005649.jpg | apple pie
    images/waffles/1005649.jpg | waffles_1005649.jpg | waffles
    images/tacos/12.jpg | tacos/12.jpg | tacos
fgvc_aircraft: plane_test.json
    images/1025794.jpg | 707-320_1025794 |
    images/0056978.jpg | F/A-18_0056978 |
    images/0056979.jpg | F_A-18_0056979 | F/A-18
sun397: inter_sun397_test.json
    {S}/a/abbey/sun_aaa.jpg | sun_aaa.jpg | abbey
    {S}/a/apartment_building/outdoor/sun_aab.jpg | apartment_building_outdoor_sun_aab.jpg | outdoor apartment building
    {S}/b/bakery/shop/sun_aac.jpg | b/bakery/shop/sun_aac.jpg | bakery shop
    {S}/c/cabin/outdoor/sun_aad.jpg | c_cabin_outdoor_sun_aad.jpg | outdoor cabin
dtd: inter_dtd_test.json
    images/banded/banded_0060.jpg | banded_0060.jpg | banded
    images/polka-dotted/polka-dotted_0001.jpg | polka-dotted_0001.jpg | polka-dotted
ucf101: inter_ucf101_train.json
    {U}/Apply_Eye_Makeup/v_ApplyEyeMakeup_g08_c01.jpg | Apply_Eye_Makeup_v_ApplyEyeMakeup_g08_c01.jpg | Apply_Eye_Makeup
    {U}/Apply_Eye_Makeup/v_ApplyEyeMakeup_g08_c02.jpg | v_ApplyEyeMakeup_g08_c02.jpg | Apply_Eye_Makeup
    {U}/Handstand_Pushups/{V} | Handstand Pushups_{V} | Handstand Pushups
"""
"""Domain and annotations; then image, name in the annotations, and category, which may be missing."""


def read_domains():
    """Return annotations and rows of each domain."""
    domains = {}
    text = DOMAINS.format(S="SUN397", U="UCF-101-midframes", V="v_HandStandPushups_g01_c01.jpg")
    for line in text.strip().splitlines():
        if line[0] != " ":
            name, file = line.split(": ")
            domains[name] = file, []
        else:
            domains[name][1].append([each.strip() for each in line.split("|")])
    return domains


def draw_domain(write, draw, name):
    """Write the tree and the captions of a domain; return the images that they mean, in order."""
    file, rows = read_domains()[name]
    captions = {}
    for number, (path, *about) in enumerate(rows):
        write(f"{name}/{path}", draw(number, form="JPEG"))
        if not about:
            continue
        called, category = about
        record = {"file_name": called, "file_path": "YOUR_IMAGE_PATH", "negative": []}
        record |= {"file_path": f"{FAR}/{called}"} if number % 2 else {}
        record |= {"class_name": category} if category else {}
        caption = f"This is a photo of {category or 'one'}.The picture is number {number}."
        captions[called] = {**record, "positive": caption}
    write(f"{name}/{file}", captions)
    write(f"{name}/split_zhou_X.json", {"train": [], "val": [], "test": []})
    return [path for path, *about in rows if about]


@pytest.mark.parametrize("name", read_domains())
def test_every_caption_of_a_domain_finds_its_image(tmp_path, write, draw, name):
    paths = draw_domain(write, draw, name)
    if name == "oxford_flowers":
        write(f"{name}/cat_to_name.json", {"21": "fire lily"})
    found = list(released.read(SourceFolder(tmp_path / "raw" / name)))
    assert [item.image.path if not isinstance(item, Rejection) else item for item in found] == paths


def test_equal_file_names_are_resolved_by_the_folder_of_the_split(tmp_path, write, draw):
    for folder in ("cars_train", "cars_test"):
        write(f"{folder}/00001.jpg", draw(1))
    record = {"file_name": "00001.jpg", "class_name": "Audi TT", "positive": "An Audi TT."}
    write("inter_cars_test.json", {"00001.jpg": record})
    write("captions.json", {"00001.jpg": record})
    unsure, test = released.read(SourceFolder(tmp_path / "raw"))
    assert unsure.reason == "image_ambiguous"
    assert test.image.path == "cars_test/00001.jpg"


def test_a_prefix_that_is_not_the_category_is_not_removed(tmp_path, write, draw):
    """`sphynx_43` must not find `43.jpg` of something else."""
    write("images/43.jpg", draw(1))
    record = {"file_name": "tabby_43.jpg", "class_name": "sphynx", "positive": "A sphynx."}
    write("pets_test.json", {"tabby_43": record})
    (found,) = released.read(SourceFolder(tmp_path / "raw"))
    assert found.reason == "image_missing"
