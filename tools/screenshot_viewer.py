"""Take the screenshots of docs/viewer.md from a real run of `fdrd view`.

    fdrd sample raw/ --categories 24 --pairs 720
    fdrd build --source raw/ --out data/birds --backbone embedded
    fdrd bench --data data/birds --method zero_shot --method coop --method dcar -T epochs=3
    python tools/screenshot_viewer.py data/birds --results runs/ --out docs/images

Needs Playwright for Python and Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

ARGUMENTS = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync""".split()


def main() -> None:
    """Start the viewer, visit its pages, and write an image of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    command = [
        sys.executable,
        "-m",
        "fdrd",
        "view",
        str(options.dataset),
        "--results",
        str(options.results),
    ]
    command += ["--review", "screenshots", "--port", "0", "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        line = next(line for line in server.stdout if "http://" in line)
        address = line[line.index("http://") :].strip()
        with tempfile.TemporaryDirectory() as profile, sync_playwright() as playwright:
            browser = playwright.chromium.launch_persistent_context(
                profile,
                executable_path=shutil.which("chromium"),
                headless=True,
                args=ARGUMENTS,
                viewport={"width": 1280, "height": 800},
            )
            _visit(browser.new_page(), address, options.out)
            browser.close()
    finally:
        server.terminate()
        server.wait()


def _visit(page: Page, address: str, out: Path) -> None:
    base = address.partition("/?")[0]
    page.goto(f"{address}&q=blue")
    _save(page, out / "viewer_browse.png")
    page.goto(f"{base}/results/queries")
    page.locator(".queries a").nth(1).click()
    page.wait_for_url("**/results/query?*")
    methods = page.locator(".methods > section").count()
    while (done := page.locator(".hits").count()) < methods:
        page.get_by_role("button", name="Compute the top ten").first.click()
        expect(page.locator(".hits")).to_have_count(done + 1, timeout=120_000)
    _save(page, out / "viewer_query.png")
    page.emulate_media(color_scheme="dark")
    page.goto(f"{base}/review?queue=stratified")
    _save(page, out / "viewer_review.png")


def _save(page: Page, path: Path) -> None:
    """Write a screenshot with 128 colors, a fifth of the size."""
    page.wait_for_load_state("networkidle")
    page.screenshot(path=path)
    Image.open(path).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(
        path, optimize=True
    )


if __name__ == "__main__":
    main()
