"""The server: who may ask, what is shown of broken, hostile and changing data, and what differs between builds."""

import asyncio
import io
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from markupsafe import escape
from PIL import Image
from starlette.responses import PlainTextResponse

from fdrd.build_config import BuildConfig
from fdrd.curation.decisions import Decision, to_line
from fdrd.pipeline.builder import build
from fdrd.viewer.facets import MOST_CHOSEN
from fdrd.viewer.review import digest_of
from fdrd.viewer.security import POLICY, Guard, redirect_file

HOSTILE = (
    '"><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7*7 }} \u202edlrow\u2066\u200b'
)
HIDDEN = re.compile("[\u200b\u202d\u202e\u2066]")


@pytest.fixture
def site(drawn, open_site):
    return open_site(drawn / "set")


def markup(text):
    return str(escape(text))


def first_record(site):
    index = site.context.library.current()
    return index.records([0])[0]


def test_a_request_needs_the_token_and_gets_it_once_as_a_cookie(site):
    assert site.ask("/", Cookie="").status == 403
    assert site.ask("/", Cookie=f"fdrd_view_{site.port}=wrong").status == 403
    assert site.ask("/static/viewer.css", Cookie="").status == 403
    answer = site.ask("/record?token=secret-token&id=a%26b", Cookie="")
    assert (answer.status, answer.headers["location"]) == (303, "/record?id=a%26b")
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "samesite=strict" in answer.headers["set-cookie"].lower()


def test_a_redirect_never_leaves_the_site(site):
    answer = site.ask("//evil.example/?token=secret-token", Cookie="")
    assert answer.headers["location"].startswith("/evil.example")


def test_the_file_that_opens_the_browser_is_private_and_is_removed():
    with redirect_file("http://127.0.0.1:1/?token=a&b") as page:
        assert stat.S_IMODE(page.stat().st_mode) == 0o600
        assert stat.S_IMODE(page.parent.stat().st_mode) == 0o700
        assert 'content="0; url=http://127.0.0.1:1/?token=a&amp;b"' in page.read_text()
        assert "token" not in page.as_uri()
    assert not page.parent.exists()


def test_a_token_from_another_site_gets_a_page_that_goes_on(site):
    headers = {"Cookie": "", "Sec-Fetch-Site": "cross-site"}
    answer = site.ask("//evil.example/?token=secret-token&q=%0d%0a", **headers)
    assert (answer.status, answer.headers["refresh"]) == (200, "0; url=/evil.example/?q=%0D%0A")
    assert "samesite=strict" in answer.headers["set-cookie"].lower()
    assert site.ask("/?token=wrong", **headers).status == 403


def test_a_page_grows_with_its_filters_and_no_faster(site):
    def size(count):
        return len(site.text("/?" + "&".join(f"category=c{n}" for n in range(count))))

    assert size(400) - size(200) < 1.2 * (size(300) - size(100))
    assert "Remove 392 more" in site.text("/?" + "&".join(f"category=c{n}" for n in range(400)))
    limit = "&".join(f"value=c{n}" for n in range(MOST_CHOSEN))
    assert site.ask(f"/?{limit}").status == 200
    answer = site.ask(f"/?{limit}&split=test")
    assert (answer.status, answer.read()[:20]) == (400, b"The address has 501 ")


def test_a_request_that_is_half_sent_does_not_keep_the_server_from_ending(drawn, open_site, capfd):
    site = open_site(drawn / "set", review="half")
    with socket.create_connection(("127.0.0.1", site.port)) as half:
        half.sendall(
            f"POST /review/decide HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nOrigin: {site.base}\r\n"
            f"Cookie: fdrd_view_{site.port}=secret-token\r\nContent-Length: 60000\r\n\r\na".encode()
        )
        time.sleep(0.2)
        site.server.should_exit = True
        site.thread.join(30)
    assert not site.thread.is_alive()
    assert "Traceback" not in capfd.readouterr().err


def test_what_breaks_while_the_viewer_is_open_is_named_on_the_page(copied, open_site):
    site = open_site(copied, review="r")
    file = site.context.review.path
    file.parent.mkdir(parents=True)
    file.write_text("{}\n")
    answer = site.ask("/")
    page = answer.read().decode()
    assert answer.status == 503
    assert 'role="alert"' in page
    assert "decisions.jsonl: line 1 is not a decision" in page
    file.unlink()
    file.mkdir()
    assert "decisions.jsonl is not a file" in site.ask("/review").read().decode()
    file.rmdir()
    assert site.ask("/").status == 200
    file.parent.rmdir()
    file.parent.write_text("in the way")
    record = first_record(site)
    form = {"record": record["id"], "digest": digest_of(record), "action": "accept"}
    answer = site.post("/review/decide", **form)
    assert "Not+saved" in answer.headers.get("location", "") or answer.status == 503


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:1", ""])
def test_another_host_is_refused(site, host):
    assert site.ask("/", Host=host).status in (400, 421)


def test_a_server_for_all_addresses_takes_addresses_and_no_names():
    async def app(scope, receive, send):
        await PlainTextResponse("in")(scope, receive, send)

    def status(host, addresses):
        guard = Guard(app, "t", {"localhost:80"}, "c", addresses)
        headers = [(b"host", host.encode()), (b"cookie", b"c=t")]
        scope = {"type": "http", "method": "GET", "path": "/", "query_string": b""}
        scope["headers"] = headers
        sent = []

        async def send(message):
            sent.append(message)

        asyncio.run(guard(scope, None, send))
        return sent[0]["status"]

    assert status("192.0.2.7:80", True) == status("[2001:db8::1]:80", True) == 200
    assert status("evil.example:80", True) == status("192.0.2.7:80", False) == 421


@pytest.mark.parametrize("origin", ["http://evil.example", "null", ""])
def test_another_origin_may_not_write(drawn, open_site, origin):
    site = open_site(drawn / "set", review=f"origin{len(origin)}")
    headers = {"Origin": origin} if origin else {}
    assert site.ask("/review/decide", "POST", "action=undo", **headers).status == 403


def test_every_answer_forbids_inline_script(site):
    for path in ("/", "/missing", "/static/viewer.js", "/thumb?id=none"):
        headers = site.ask(path).headers
        assert headers["content-security-policy"] == POLICY
        assert headers["x-content-type-options"] == "nosniff"
    assert "'unsafe" not in POLICY
    assert "onclick" not in site.text("/")
    assert not re.search(r"<script(?![^>]*src=)|style=", site.text("/"))


def test_without_a_review_nothing_is_written(site, drawn):
    record = first_record(site)
    answer = site.post("/review/decide", record=record["id"], action="accept")
    assert answer.status == 403
    assert "No review is open" in site.text("/review")
    assert not list((drawn / "set.review").glob("None*"))


def test_browsing_filters_and_searches(site):
    record = first_record(site)
    page = site.text("/", category=record["category"], split=record["split"])
    assert f"Remove the filter {markup(record['category'])}" in page
    assert urlencode({"id": record["id"]}) in page
    word = re.findall(r"\w{5,}", record["caption"])[-1]
    assert urlencode({"id": record["id"]}) in site.text("/", q=word)
    assert "No record matches" in site.text("/", q="xyzzyxyzzy")
    assert site.ask("/?page=99999999999999999999&order=evil&q=%00%22*").status == 200


def test_a_record_shows_spans_negatives_and_provenance(site):
    index = site.context.library.current()
    record = next(r for r in index.records(range(40)) if r["attributes"] and r["negatives"])
    page = site.text("/record", id=record["id"])
    for text in (record["license"], record["image"], record["file"]):
        assert markup(text) in page
    span = record["attributes"][0]
    assert f'<mark class="span type-{span["type"]}"' in page
    assert '<mark class="span changed"' in page
    assert site.ask("/record?id=../../etc/passwd").status == 404


def test_images_are_re_encoded_and_come_by_id_alone(site):
    record = first_record(site)
    for path, side in (("/image", 48), ("/thumb", 48)):
        answer = site.ask(f"{path}?id={quote(record['id'])}")
        assert answer.headers["content-type"] == "image/webp"
        assert max(Image.open(io.BytesIO(answer.read())).size) == side
    assert site.ask("/image?id=/etc/passwd").status == 404
    assert site.ask("/static/../server.py").status == 404


def test_thumbnails_need_no_cache_that_can_be_written(site, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FDRD_CACHE", str(tmp_path / "file/cache"))
    answer = site.ask(f"/thumb?id={quote(first_record(site)['id'])}")
    assert answer.headers["content-type"] == "image/webp"


def test_hostile_captions_names_and_paths_are_shown_as_text(draw, write, tmp_path, open_site):
    long = "word " * 2000
    lines = []
    for number, caption in enumerate([HOSTILE, long, "An ordinary caption."]):
        name = f"train/{'a<b>&' if number else 'c'}/{number}.png"
        write(name, draw(number))
        keys = ("license", "category", "meta_category", "group")
        names = dict.fromkeys(keys, f"{HOSTILE} {number}")
        lines.append(json.dumps({"file_name": name, "caption": caption, **names}))
    write(os.fsdecode(b"train/\xff/bytes.png"), draw(9))
    write(os.fsdecode(b"train/\xff/bytes.txt"), "A wren.")
    lines.append(json.dumps({"file_name": f"{HOSTILE}.png", "caption": "x"}))
    write("metadata.jsonl", "\n".join(lines))
    build(tmp_path / "raw", tmp_path / "set", config=BuildConfig(max_caption=20_000), workers=1)
    site = open_site(tmp_path / "set", source=tmp_path / "raw", review="r")
    index = site.context.library.current()
    paths = ["/", "/review", "/rejected", "/duplicates", "/results"]
    paths.append(f"/?q={quote(HOSTILE)}&category={quote(HOSTILE)}")
    records = index.records(range(index.columns.size))
    paths += [f"/record?id={quote(record['id'])}" for record in records]
    for path in paths:
        page = site.text(path)
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert not HIDDEN.search(re.sub(r' value="[^"]*"', "", page))  # a form sends it back
    assert any(len(record["caption"]) > 9000 for record in records)


def test_rejected_records_stand_beside_the_kept_ones(write, draw, tmp_path, open_site):
    write("train/wren/0.png", draw(0))
    write("test/wren/1.png", draw(0))
    write("train/wren/2.png", draw(2))
    names = ("train/wren/0", "test/wren/1", "train/wren/2", "train/wren/none")
    lines = [{"file_name": f"{name}.png", "caption": f"A wren, {name}."} for name in names]
    write("metadata.jsonl", "\n".join(map(json.dumps, lines)))
    build(tmp_path / "raw", tmp_path / "set", workers=1)
    site = open_site(tmp_path / "set", source=tmp_path / "raw", review="r")
    page = site.text("/rejected", reason="image_in_other_split")
    assert "Kept, test" in page
    assert "Keep after all" in page
    assert "Keep after all" not in site.text("/rejected", reason="image_missing")
    (number,) = re.findall(r"/rejected/image\?n=(\d+)", page)
    assert site.ask(f"/rejected/image?n={number}").headers["content-type"] == "image/webp"
    item = json.loads((tmp_path / "set" / "rejected.jsonl").read_text().splitlines()[int(number)])
    kept = {"action": "keep", "number": number, "key": item["key"], "back": "/rejected"}
    assert site.post("/review/decide", **kept).status == 303
    assert "kept by the review" in site.text("/rejected")


def test_a_dataset_that_is_rebuilt_while_it_is_open_is_noticed(birds, tmp_path, open_site):
    build(birds, tmp_path / "set", workers=1)
    site = open_site(tmp_path / "set")
    assert "<strong>49</strong>" in site.text("/")
    config = replace(BuildConfig(), policy={"duplicate_pair": "drop"}, seed=5)
    lines = (birds / "metadata.jsonl").read_text().splitlines()
    (birds / "metadata.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    build(birds, tmp_path / "set", config=config, workers=1)
    site.wait("/", lambda page: "<strong>48</strong>" in page)


def test_a_dataset_without_categories_is_shown_and_reviewed(uncategorized, tmp_path, open_site):
    build(uncategorized, tmp_path / "set", workers=1)
    site = open_site(tmp_path / "set", review="r")
    assert "(none)" in site.text("/", category="(none)")
    record = first_record(site)
    assert "No category" in site.text("/record", id=record["id"])
    form = {"record": record["id"], "digest": digest_of(record)}
    form |= {"action": "caption", "value": "A blue wren."}
    assert "saved=caption" in site.post("/review/decide", **form).headers["location"]
    file = tmp_path / "set.review" / "r" / "decisions.jsonl"
    built = build(uncategorized, tmp_path / "set", decisions=file, workers=1)
    assert (built.manifest.decisions.applied, built.stale) == (1, [])


def test_parquet_shards_are_shown_too(two_formats, open_site):
    site = open_site(two_formats["parquet"].out)
    record = first_record(site)
    assert site.ask(f"/image?id={quote(record['id'])}").headers["content-type"] == "image/webp"


@pytest.mark.slow
def test_the_command_opens_the_browser_without_the_token_and_ends_on_ctrl_c(drawn, tmp_path):
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\n')
    browser.chmod(0o755)
    options = "--port 0 --host 0.0.0.0 --review ctrl-c".split()
    command = [sys.executable, "-m", "fdrd", "view", str(drawn / "set"), *options]
    variables = {"BROWSER": f"{browser} %s", "TMPDIR": str(tmp_path), "DISPLAY": ":0"}
    environment = {**os.environ, "FDRD_CACHE": str(drawn / "cache/fdrd"), **variables}
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    line = next(line for line in server.stdout if "/?token=" in line)
    token = line.strip().partition("/?token=")[2]
    for _ in range(200):
        if (tmp_path / "arguments").is_file() and (tmp_path / "arguments").read_text():
            break
        time.sleep(0.05)
    opened = (tmp_path / "arguments").read_text().strip()
    assert token not in opened
    page = Path(opened.removeprefix("file://"))
    assert token in page.read_text()
    server.send_signal(signal.SIGINT)
    _, errors = server.communicate(timeout=60)
    assert server.returncode in (0, 130)
    assert "Traceback" not in errors
    assert "Warning: others can reach 0.0.0.0 over plain HTTP" in errors
    assert not page.exists()


def test_records_that_differ_are_listed_with_their_images(drawn, copied, tmp_path, open_site):
    index = open_site(copied).context.library.current()
    dropped, edited, moved = index.records([0, 1, 2])

    changes = ("drop", ""), ("caption", "A <b>red</b> teapot."), ("category", "teapot")
    decisions = [
        Decision(record["id"], digest_of(record), "ann", "2026-01-01T00:00:00Z", *change)
        for record, change in zip((dropped, edited, moved), changes, strict=True)
    ]
    (tmp_path / "decisions").write_bytes(b"".join(map(to_line, decisions)))
    build(drawn / "raw", tmp_path / "new", decisions=tmp_path / "decisions", workers=1)
    site = open_site(tmp_path / "new", before=copied)
    page = site.text("/changes")
    counts = dict(re.findall(r"kind=(\w+)\"[^>]*>[^<]+<span class=\"count\">(\d+)", page))
    assert counts == {"added": "0", "dropped": "1", "caption": "1", "category": "1", "split": "0"}
    thumbnail = site.ask(f"/changes/thumb?id={quote(dropped['id'])}")
    assert thumbnail.headers["content-type"] == "image/webp"
    assert site.ask("/changes/thumb?id=none").status == 404
    page = site.text("/changes", kind="caption")
    assert "<b>" not in page
    assert "teapot" in page
    back = open_site(copied, before=tmp_path / "new").text("/changes")
    assert re.search(r"kind=added\"[^>]*>[^<]+<span class=\"count\">1<", back)
    assert "--before" in open_site(copied).text("/changes")
