"""What is encoded, cached and measured under a digest are the bytes that have it."""

import pytest
from datasets import Dataset, Image

import benchmark
from benchmark.models.encoders.stored import write_features
from benchmark.models.frozen_features import FrozenFeatures
from benchmark.models.image_batches import Images, digests
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError
from tests.running import run_method

REFUSED = (
    r"^drawn: shapes/{row} in {split}: the image does not match its digest[^\n]*`fdrd validate`"
)


def changed(view, change):
    """Return the view with other images under the digests that it has."""
    rows = view._rows.cast_column("image", Image(decode=False)).to_list()
    for row, image in zip(rows, change([row["image"] for row in rows]), strict=True):
        row["image"] = image
    return RetrievalDataset(
        Dataset.from_list(rows, features=view._rows.features), name=view.name, split=view.split
    )


def rotated(images):
    return images[1:] + images[:1]


def last_emptied(images):
    return [*images[:-1], {**images[-1], "bytes": b""}]


def last_missing(images):
    return [*images[:-1], None]


def last_with_one_bit_flipped(images):
    content = images[-1]["bytes"]
    return [*images[:-1], {**images[-1], "bytes": content[:-1] + bytes([content[-1] ^ 1])}]


def measured(make_clip, root, data, method="zero_shot", **options):
    backbone = make_clip(FrozenFeatures(root))
    return run_method(method, data, backbone=backbone, hard_negatives=False, **options)


@pytest.mark.parametrize("cached", [False, True])
def test_permuted_images_are_refused_and_leave_the_cache_right(
    make_clip, tiny_dataset, tmp_path, cached
):
    """Features that are cached under the claimed digests are no excuse, though no image would be decoded."""
    wanted = measured(make_clip, tmp_path if cached else tmp_path / "other", tiny_dataset)
    forged = changed(tiny_dataset["test"], rotated)
    assert forged.fingerprint == wanted.settings.data.fingerprint  # of claimed digests
    backbone = make_clip(FrozenFeatures(tmp_path))
    refused = pytest.raises(FdrdError, match=REFUSED.format(row=0, split="test"))
    with refused:
        measured(make_clip, tmp_path, {"test": forged}, results=tmp_path / "runs")
    with refused:
        benchmark.search([forged], "a red circle", method="zero_shot", backbone=backbone)
    with refused:
        write_features(backbone, [forged], tmp_path / "stored")
    with refused:
        backbone.encode_image(Images.of(forged))
    assert not list(tmp_path.glob("runs/*.json"))
    assert not (tmp_path / "stored").exists()
    assert measured(make_clip, tmp_path, tiny_dataset).ranks == wanted.ranks


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_each_image_that_a_run_uses_is_checked(tiny_dataset, run_tiny, split):
    forged = changed(tiny_dataset[split], last_with_one_bit_flipped)
    forged = {**tiny_dataset, split: forged}
    with pytest.raises(FdrdError, match=REFUSED.format(row=23, split=split)):
        run_tiny("coop", forged, hard_negatives=False)


def test_images_that_a_run_does_not_use_are_not_read(tiny_dataset, run_tiny):
    run_tiny(data={**tiny_dataset, "train": changed(tiny_dataset["train"], rotated)})


@pytest.mark.parametrize("change", [last_emptied, last_missing, last_with_one_bit_flipped])
def test_a_changed_image_is_neither_decoded_nor_returned(tiny_dataset, change):
    forged = changed(tiny_dataset["test"], change)
    for read in (forged.images, forged.files, forged.checked_digests):
        assert len(read([0, 22])) == 2
        with pytest.raises(FdrdError, match=REFUSED.format(row=23, split="test")):
            read([0, 23])


def test_a_digest_is_computed_once(tiny_dataset, monkeypatch):
    view = tiny_dataset["test"].select(range(24))
    assert digests(Images.of(view)) == view.image_digests
    monkeypatch.setattr("fdrd.dataset.hashlib.sha256", lambda _: pytest.fail("hashed again"))
    assert digests(Images.of(view)) == view.image_digests
    assert len(view.files([3, 1])) == 2


def test_decoded_images_are_those_of_datasets(tiny_dataset):
    """`datasets` decodes the same bytes."""
    view = tiny_dataset["test"]
    theirs = [image.convert("RGB") for image in view._rows["image"]]
    ours = view.images(range(24))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(ours, theirs, strict=True))
