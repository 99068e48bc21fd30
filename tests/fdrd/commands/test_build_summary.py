"""What `fdrd build` says about splits and languages, and that the next command which it names can run."""

import json

from layouts import LAYOUTS, PAIRS

from tests.command import run_fdrd


def build(root, target):
    code, out, err = run_fdrd("build", str(root), "-o", str(target), "--workers", "1")
    assert code == 0, err
    return " ".join(out.replace("─", "").split()), (target / "README.md").read_text()


def test_categories_with_one_image_are_said_to_be_split_by_image(tmp_path, write, draw):
    for number in range(60):
        write(f"bird {number}/{number}.png", draw(number))
        write(f"bird {number}/{number}.txt", f"A red bird {number} on a branch.")
    out, card = build(tmp_path / "raw", tmp_path / "out")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    images = {split: counts["images"] for split, counts in manifest["splits"]["raw"].items()}
    assert images["test"] > 4
    sizes = " ".join(str(images[split]) for split in ("train", "validation", "test"))
    assert f"images of train validation test raw {sizes}" in out
    assert "60 pairs have categories with one image. They are split by image" in out
    assert f"Few images: test of raw has {images['test']}." in out
    assert "for 5 points, take 385 images" in out
    assert "`split_by_image`" in card


def test_a_dataset_without_test_split_is_measured_on_validation(tmp_path):
    root = tmp_path / "raw"
    root.mkdir()
    LAYOUTS["coco"].write(root, PAIRS)
    for split in ("train", "test"):
        (root / f"annotations/captions_{split}2017.json").unlink()
    out, _ = build(root, tmp_path / "out")
    assert "No test split: raw. The source names other splits only, or has too few" in out
    assert "Few images" not in out
    assert f"Next: fdrd bench {tmp_path}/out --method zero_shot --split validation" in out
    bench = ("bench", str(tmp_path / "out"), "--method", "random", "--results", str(tmp_path / "r"))
    code, _, err = run_fdrd(*bench)
    assert (code, "out has no test; choose validation with" in " ".join(err.split())) == (2, True)
    code, out, err = run_fdrd(*bench, "--split", "validation")
    assert code == 0, err
    assert "Few images: validation of raw has 3." in " ".join(out.split())


def test_captions_in_another_language_are_said_to_have_no_attributes(tmp_path, write, draw):
    captions = {
        "deutsch": "Ein kleiner roter Vogel {} sitzt auf einem grünen Zweig.",
        "zhongwen": "一只红色的小鸟 {} 站在绿色的树枝上。",
        "english": "A small red bird {} sits on a green branch in the shade.",
    }
    for folder, caption in captions.items():
        for number in range(12):
            image = 40 * len(folder) + number
            write(f"{folder}/{('wren', 'robin')[number % 2]}/{number}.png", draw(image))
            write(f"{folder}/{('wren', 'robin')[number % 2]}/{number}.txt", caption.format(number))
    out, card = build(tmp_path / "raw", tmp_path / "out")
    for text in (out, card):
        for domain in ("deutsch", "zhongwen"):
            assert f"{domain}: 0 of 12 pairs have attributes, and 0 hard negatives" in text
        assert "Attributes need English words." in text
        assert "english: 0 of" not in text
