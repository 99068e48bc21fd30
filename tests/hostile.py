"""A source of hostile inputs. Each has a mark in its name or key, and expected outcomes.

`write_hostile_source` writes the domains `folder` (image_folder), `authors` (released), `rows` (table), `tars`
(webdataset) and `splits` (coop_splits), each with a few good pairs, and returns the inputs.
"""

from __future__ import annotations

import base64
import io
import json
import os
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from archives import tar
from PIL import Image, PngImagePlugin

SECRET = "TOP-SECRET-OUTSIDE"  # in files outside the source; must be in no output
LONG = "A wren sings. " * 750_000  # 10 MB
DEEP = "[" * 100_000

KEPT, UNREADABLE = "kept", "unreadable_annotations"


@dataclass(frozen=True)
class Hostile:
    """An input: the mark or place that identifies it, and the possible outcomes."""

    mark: str
    outcomes: tuple[str, ...]
    place: tuple[str, str] | None = None
    """File and key of an annotation whose rejection does not contain the mark."""


@dataclass
class Corpus:
    """Writes hostile inputs below `root` and lists them."""

    root: Path
    outside: Path
    inputs: list[Hostile] = field(default_factory=list)
    lines: dict[str, list[str]] = field(default_factory=dict)
    members: list[tuple[tarfile.TarInfo, bytes]] = field(default_factory=list)
    authors: list[tuple[str, object]] = field(default_factory=list)

    def expect(self, *outcomes):
        """Return a new mark."""
        mark = f"h{len(self.inputs):03d}x"
        self.inputs.append(Hostile(mark, outcomes))
        return mark

    def write(self, path, data):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data)
        return file

    def image(self, data, *outcomes, ending="jpg"):
        """Write an image with a good caption."""
        mark = self.expect(*outcomes)
        self.write(f"folder/wren/{mark}.{ending}", data)
        self.write(f"folder/wren/{mark}.txt", f"A wren that is called {mark}.")

    def text(self, data, *outcomes):
        """Write a good image with a bad text."""
        mark = self.expect(*outcomes)
        self.write(f"folder/wren/{mark}.png", noise_image(len(self.inputs)))
        self.write(f"folder/wren/{mark}.txt", data)

    def line(self, text, *outcomes, file="folder/metadata.jsonl"):
        """Add a metadata line for a good image; `MARK` in it becomes the mark."""
        mark = self.expect(*outcomes)
        self.write(f"folder/wren/{mark}.png", noise_image(len(self.inputs)))
        lines = self.lines.setdefault(file, [])
        lines.append(text.replace("MARK", mark))
        self.inputs[-1] = replace(self.inputs[-1], place=(file, f"line {len(lines)}"))

    def member(self, name, data, *outcomes, **fields):
        """Add a member to the archive."""
        info = tarfile.TarInfo(name.replace("MARK", self.expect(*outcomes)))
        for key, value in fields.items():
            setattr(info, key, value)
        self.members.append((info, data))

    def sample(self, text, *outcomes, ending="txt"):
        """Add a good image with a bad text to the archive."""
        mark = self.expect(*outcomes)
        image = tarfile.TarInfo(f"wren/{mark}.png")
        self.members.append((image, noise_image(len(self.inputs))))
        self.members.append((tarfile.TarInfo(f"wren/{mark}.{ending}"), text))

    def file(self, path, data, *outcomes):
        """Write a file with the mark in its name; return the mark."""
        mark = self.expect(*outcomes)
        text = data.replace("MARK", mark) if isinstance(data, str) else data
        self.write(path.replace("MARK", mark), text)
        return mark

    def table(self, columns, *outcomes):
        """Write a Parquet file with the mark in its name."""
        file = io.BytesIO()
        pq.write_table(pa.table(columns), file, compression="zstd")
        self.file("rows/MARK.parquet", file.getvalue(), *outcomes)

    def link(self, path, to, *outcomes):
        """Create a symbolic link with the mark in its name; return the mark."""
        mark = self.expect(*outcomes)
        file = self.root / path.replace("MARK", mark)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.symlink_to(to.replace("MARK", mark) if isinstance(to, str) else to)
        return mark


def noise_image(seed, form="PNG", size=(32, 24), **options):
    """Return an image of unique noise."""
    noise = b"".join(zlib.crc32(b"%d %d" % (seed, at)).to_bytes(4, "big") for at in range(36))
    small = Image.frombytes("RGB", (8, 6), noise)
    buffer = io.BytesIO()
    small.resize(size, Image.Resampling.NEAREST).save(buffer, form, **options)
    return buffer.getvalue()


def png(width, height, data=b"", *chunks):
    """Return a PNG whose header may be wrong."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    found = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(data, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in found
    )


def write_hostile_source(root, outside):
    """Write the whole source and return its hostile inputs."""
    outside.mkdir()
    (outside / "secret.png").write_bytes(noise_image(10_000) + SECRET.encode())
    (outside / "secret.txt").write_text(f"A wren with a {SECRET}.\n")
    line = {"file_name": "wren/good1.png", "caption": f"A wren with a {SECRET}."}
    (outside / "secret.jsonl").write_text(json.dumps(line) + "\n")
    record = {"file_name": "good1.png", "class_name": "wren", "positive": f"A {SECRET} wren."}
    (outside / "secret.json").write_text(json.dumps({"secret": record}))
    (outside / "folder").mkdir()
    (outside / "folder/1.png").write_bytes(noise_image(10_001) + SECRET.encode())
    corpus = Corpus(root, outside)
    for draw in (
        *(_good, _bombs, _wrong_endings, _polyglots, _parents, _links, _escaping),
        *(_odd_names, _long_captions, _deep, _twice, _not_utf8, _sizes, _no_files, _exported),
    ):
        draw(corpus)
    _finish(corpus)
    return corpus.inputs


def _good(corpus):
    for number in range(12):
        split = "test" if number % 4 == 3 else "train"
        data, caption = noise_image(20_000 + number), f"A wren on branch {number}."
        name = f"good{number}.png"
        if number < 6:
            corpus.write(f"folder/wren/{name}", data)
            text = {"file_name": f"wren/{name}", "caption": caption, "split": split}
            corpus.lines.setdefault("folder/metadata.jsonl", []).append(json.dumps(text))
        elif number < 8:
            corpus.write(f"authors/images/{name}", data)
            record = {"file_name": name, "class_name": "wren", "positive": caption}
            corpus.authors.append((f"good{number}", record))
        elif number < 10:
            corpus.write(f"rows/wren/{name}", data)
            corpus.lines.setdefault("rows/pairs.csv", ["image,caption"]).append(
                f"wren/{name},{caption}"
            )
        else:
            corpus.members.append((tarfile.TarInfo(f"wren/{name}"), data))
            corpus.members.append((tarfile.TarInfo(f"wren/good{number}.txt"), caption.encode()))
    corpus.write("splits/images/good.png", noise_image(30_000))
    corpus.write("splits/split_zhou_A.json", '{"train": [["good.png", 0, "wren"]]}')


def _bombs(corpus):
    corpus.image(png(30_000, 30_000, bytes(10**6)), "image_too_large", ending="png")
    corpus.image(png(20, 20, bytes(10**8)), KEPT, "image_broken", ending="png")
    text = (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(10**8), 9))
    corpus.image(png(4, 4, bytes(52), text), "image_broken", ending="png")
    profile = (b"iCCP", b"x\0\0" + zlib.compress(bytes(10**8), 9))
    corpus.image(png(4, 4, bytes(52), profile), KEPT, "image_broken", ending="png")
    gif = b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + b"\xf0\0\0" + bytes(6) + b",\0\0\0\0"
    gif += struct.pack("<HH", 65_535, 65_535) + b"\0\2\2L\1\0;"
    corpus.image(gif, "image_too_large", ending="gif")
    images = pa.array(["x.png"] * 3_000_000).dictionary_encode()
    corpus.table({"image": images}, UNREADABLE)


def _wrong_endings(corpus):
    corpus.image(b"\0\0\0\x18ftypmp42" + bytes(99), "not_an_image", "image_broken")
    corpus.image(noise_image(120, "PNG"), KEPT, ending="jpg")
    corpus.file("rows/MARK.parquet", "image,caption\nx,y\n", UNREADABLE)
    corpus.file("tars/MARK.tar", noise_image(121), UNREADABLE)


def _polyglots(corpus):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("evil.sh", "rm -rf /")
    corpus.image(noise_image(130, "JPEG") + archive.getvalue(), KEPT)
    corpus.image(archive.getvalue() + noise_image(131, "JPEG"), "not_an_image")
    gif = b"GIF89a/*" + b"\0" * 20 + b"*/=alert(1)//;"
    corpus.image(gif, "image_broken", "image_too_large", "not_an_image", ending="gif")
    note = PngImagePlugin.PngInfo()
    note.add_text("Comment", "<?php system($_GET['x']); ?><script>alert(1)</script>")
    corpus.image(noise_image(132, "PNG", pnginfo=note), KEPT, ending="png")
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    corpus.image(script + noise_image(133), "not_an_image", ending="png")


def _parents(corpus):
    for name in ("../../outside/secret.png?MARK", "wren/../../../outside/secret.png#MARK"):
        corpus.line(json.dumps({"file_name": name, "caption": "A."}), "path_outside")
    name = "..\\\\..\\\\outside\\\\secret.png MARK"
    corpus.line(f'{{"file_name": "{name}", "caption": "A."}}', "path_outside")
    corpus.line('{"file_name": "/etc/MARK.png", "caption": "A."}', "path_outside")
    for folder in ("..", f"{corpus.root}/../outside", f"{corpus.outside}"):
        corpus.line(f"{folder}/secret.png?MARK,A wren.", "path_outside", file="rows/pairs.csv")
    mark = corpus.expect("path_outside")
    place = {"file_name": "secret.png", "file_path": "../../outside/secret.png"}
    corpus.authors.append((mark, {**place, "class_name": "wren", "positive": "A."}))
    mark = corpus.expect("path_outside")
    text = {"train": [[f"../../outside/secret.png?{mark}", 0, "wren"]]}
    corpus.write("splits/split_zhou_B.json", json.dumps(text))


def _links(corpus):
    secret = corpus.outside / "secret.png"
    corpus.link("folder/wren/MARK.png", secret, "caption_missing", "path_outside")
    mark = corpus.link("folder/wren/MARK.png", "../../../outside/secret.png", "path_outside")
    corpus.write(f"folder/wren/{mark}.txt", f"A wren {mark}.")
    mark = corpus.file("folder/wren/MARK.png", noise_image(140), "path_outside")
    (corpus.root / f"folder/wren/{mark}.txt").symlink_to(corpus.outside / "secret.txt")
    corpus.link("folder/MARK/metadata.jsonl", corpus.outside / "secret.jsonl", "path_outside")
    corpus.link("authors/MARK.json", corpus.outside / "secret.json", "path_outside")
    corpus.link("rows/MARK.jsonl", corpus.outside / "secret.jsonl", "path_outside")
    corpus.link("tars/MARK.tar", "../../outside/secret.png", "path_outside")
    mark = corpus.link("folder/wren/MARK.png", "MARK.png", "read_error")
    corpus.write(f"folder/wren/{mark}.txt", f"A wren {mark}.")
    mark = corpus.link("folder/MARK", corpus.outside / "folder", "image_missing")
    text = {"file_name": f"{mark}/1.png", "caption": "A wren."}
    corpus.lines["folder/metadata.jsonl"].append(json.dumps(text))


def _escaping(corpus):
    data = noise_image(150)
    corpus.member("../../outside/MARK.png", data, "path_outside")
    corpus.member("/tmp/MARK.png", data, "path_outside")
    corpus.member("wren/../../MARK.png", data, "path_outside")
    corpus.member("C:\\MARK.png", data, "path_outside")
    corpus.member("wren\\..\\MARK.png", data, "path_outside")
    corpus.member("../MARK.png", b"", "path_outside", type=tarfile.CHRTYPE)
    for kind, to, reason in (
        (tarfile.SYMTYPE, "../../outside/secret.png", "path_outside"),
        (tarfile.LNKTYPE, "/etc/passwd", "path_outside"),
        (tarfile.CHRTYPE, "", "not_a_file"),
        (tarfile.FIFOTYPE, "", "not_a_file"),
    ):
        corpus.member("wren/MARK.png", b"", reason, type=kind, linkname=to)
    corpus.member("wren/plain.png", data, "path_outside")
    info, _ = corpus.members[-1]
    info.pax_headers = {"path": f"../../{corpus.inputs[-1].mark}.png"}


def _odd_names(corpus):
    corpus.line('{"file_name": "wren/MARK.png\\u0000.png", "caption": "A."}', "path_outside")
    corpus.line('{"file_name": "wren/MARK.png", "caption": "A\\u0000 wren."}', KEPT, "bad_field")
    for odd in ("\u202egnp.", "\u200b \u2066", "\x1b[2J", "a\nb", "x" * 200):
        mark = corpus.expect(KEPT)
        corpus.write(f"folder/wren/{mark}{odd}.png", noise_image(160 + len(corpus.inputs)))
        corpus.write(f"folder/wren/{mark}{odd}.txt", f"A wren that is called {mark}.")
    mark = corpus.expect("bad_field")
    name = os.fsdecode(b"folder/wren/" + mark.encode() + b"\xff")
    corpus.write(f"{name}.png", noise_image(161))
    corpus.write(f"{name}.txt", f"A wren {mark}.")
    text = '{"file_name": "wren/MARK.png", "caption": "A.", "category": "\\u202ewren\\u202c"}'
    corpus.line(text, KEPT)


def _long_captions(corpus):
    for fields in ({"caption": LONG}, {"negatives": [LONG]}, {"category": LONG}):
        line = {"file_name": "wren/MARK.png", "caption": "A.", **fields}
        corpus.line(json.dumps(line), "bad_field")
    corpus.text(LONG, "bad_field")
    corpus.sample(LONG.encode(), "bad_field")
    mark = corpus.expect("bad_field")
    corpus.authors.append((mark, {"file_name": "x.png", "class_name": "wren", "positive": LONG}))
    corpus.file("rows/MARK.csv", f"image,caption\nwren/good8.png,{LONG}\n", UNREADABLE)
    columns = {"image": [noise_image(171)], "caption": [LONG], "class": ["wren"]}
    corpus.table(columns, "bad_field")


def _deep(corpus):
    text = '{"file_name": "wren/MARK.png", "caption": ' + DEEP
    corpus.file("folder/MARK/metadata.jsonl", text + "\n", UNREADABLE)
    nested = "[" * 500 + "]" * 500
    text = f'{{"file_name": "wren/MARK.png", "caption": "A.", "attributes": {nested}}}'
    corpus.line(text, "bad_field")
    corpus.file("authors/MARK.json", '{"a": {"positive": ' + DEEP, UNREADABLE)
    corpus.sample(DEEP.encode(), UNREADABLE, ending="json")
    corpus.sample(b"[1]", UNREADABLE, ending="json")
    corpus.file("folder/MARK/metadata.jsonl", "9" * 10_000 + "\n", UNREADABLE)


def _twice(corpus):
    text = '{"file_name": "wren/MARK.png", "caption": "A.", "caption": "B."}'
    corpus.file("folder/MARK/metadata.jsonl", text + "\n", "bad_field")
    corpus.file("rows/MARK.csv", "image,caption,caption\nwren/good8.png,A.,B.\n", UNREADABLE)
    corpus.sample(b'{"caption": "A.", "caption": "B."}', "bad_field", ending="json")
    text = '"k_1": {"file_name": "good6.png", "class_name": "wren", "positive": "Twice %d MARK."}'
    mark = corpus.expect("duplicate_id")
    both = ", ".join((text % number).replace("MARK", mark) for number in (1, 2))
    corpus.write(f"authors/{mark}.json", f"{{{both}}}")
    text = '{"k_2": {"file_name": "good6.png", "positive": "A.", "positive": "B."}}'
    corpus.file("authors/MARK.json", text, "bad_field")
    corpus.sample(b"A wren.", "duplicate_id")
    corpus.members.append(corpus.members[-1])


def _not_utf8(corpus):
    text = b'{"file_name": "wren/MARK.png", "caption": "A \xff wren."}\n'
    corpus.file("folder/MARK/metadata.jsonl", text, UNREADABLE)
    corpus.file("rows/MARK.csv", b"image,caption\nwren/good8.png,A \xff wren.\n", UNREADABLE)
    corpus.text(b"A \xc3\x28 wren.", UNREADABLE)
    corpus.sample(b"A \xff wren.", UNREADABLE)
    corpus.sample(b'{"caption": "A \xff wren."}', UNREADABLE, ending="json")
    text = b'{"a_1": {"positive": "A \xff wren."}}'
    corpus.file("authors/MARK.json", text, UNREADABLE)
    corpus.line('{"file_name": "wren/MARK.png", "caption": "A \\ud800."}', "bad_field")


def _sizes(corpus):
    corpus.image(b"", "not_an_image")
    corpus.sample(b"A wren.", "not_an_image")
    corpus.members[-2] = (corpus.members[-2][0], b"")
    corpus.table({"image": [b""], "caption": ["A wren."], "class": ["wren"]}, "not_an_image")
    corpus.image(png(0, 10), "image_broken", "not_an_image", ending="png")
    corpus.image(png(2**31 - 1, 2**31 - 1), "image_too_large", "image_broken", ending="png")
    head = base64.b64decode("/9j/4AAQSkZJRgABAQAAAQABAAD/wAARCP//AAD//wMBIgACEQEDEQH/2Q==")
    corpus.image(head, "image_too_large", "image_broken", "not_an_image")
    fields = (54, 0, 0, 54, 40, 2**30, -(2**30), 1, 24, *[0] * 6)
    bmp = b"BM" + struct.pack("<IHHIIiiHHIIiiII", *fields)
    corpus.image(bmp, "image_too_large", "image_broken", ending="bmp")


def _no_files(corpus):
    mark = corpus.expect("read_error")
    corpus.write(f"folder/wren/{mark}.txt", "A wren.")
    os.mkfifo(corpus.root / f"folder/wren/{mark}.png")
    mark = corpus.expect("read_error")
    (corpus.root / f"folder/{mark}").mkdir()
    os.mkfifo(corpus.root / f"folder/{mark}/metadata.jsonl")
    mark = corpus.expect("image_missing")
    (corpus.root / f"folder/wren/{mark}.png").mkdir()
    text = {"file_name": f"wren/{mark}.png", "caption": "A wren."}
    corpus.lines["folder/metadata.jsonl"].append(json.dumps(text))
    corpus.file("tars/MARK.tar", b"", UNREADABLE)


def _exported(corpus):
    """Samples as `fdrd export --to webdataset` writes them, with rows of another author."""
    span = {"type": "color", "value": "red", "start": 2**70, "end": 5}
    for odd, reason in (
        ({"caption": ["A."] * 2, "id": ["x"]}, "bad_field"),
        ({"caption": {"of": "MARK"}}, "bad_field"),
        ({"caption": "A red wren.", "attributes": [span]}, "bad_field"),
        ({"caption": "A wren.", "negatives": [{"caption": LONG}]}, "bad_field"),
        ({"caption": "A wren.", "category": LONG}, "bad_field"),
        ({"caption": "A wren.", "domain": {}, "source": [], "id": "../../MARK"}, KEPT),
        ({"caption": "A wren.", "image": "../../outside/secret.png"}, KEPT),
    ):
        rows = json.dumps({"rows": [odd]}).replace("MARK", f"h{len(corpus.inputs):03d}x")
        corpus.sample(rows.encode(), reason, ending="json")
    corpus.sample(b'{"rows": [{"caption": "A."}, "A."]}', "caption_missing", ending="json")
    corpus.sample(b'{"rows": []}', "caption_missing", ending="json")


def _finish(corpus):
    for file, lines in corpus.lines.items():
        corpus.write(file, "\n".join(lines) + "\n")
    corpus.write("authors/all.json", json.dumps(dict(corpus.authors)))
    corpus.write("tars/0.tar", tar(corpus.members))
