"""Take the screenshots of docs/viewer.md, and a short recording, from a real run of `fdrd view`.

    fdrd sample raw/ --categories 24 --pairs 720
    fdrd build --source raw/ --out data/birds --backbone embedded
    fdrd bench --data data/birds --method zero_shot --method coop --method dcar -T epochs=3
    python tools/screenshot_viewer.py data/birds --results runs/ --out docs/images

Needs Playwright for Python and Chromium.
"""

from __future__ import annotations

import argparse
import io
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
    """Start the viewer, visit its pages, and write images of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    command = [sys.executable, *"-m fdrd view --review screenshots --port 0 --no-browser".split()]
    command += ["--results", str(options.results), str(options.dataset)]
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
    """Browse, open a record, compare methods on a query, and look at the review."""
    base, frames = address.partition("/?")[0], []
    page.goto(address)
    frames.append(_frame(page))
    page.goto(f"{base}/?q=blue")
    _frame(page, out / "viewer_browse.png")
    page.locator(".facet a", has_text="fish").first.click()
    page.wait_for_url("**/*meta=fish*")
    frames.append(_frame(page))
    page.locator(".card a").first.click()
    page.wait_for_url("**/record?*")
    frames.append(_frame(page))
    page.goto(f"{base}/results")
    frames.append(_frame(page))
    page.goto(f"{base}/results/negatives")
    frames.append(_frame(page))
    page.goto(f"{base}/results/queries")
    page.locator(".queries a").nth(1).click()
    page.wait_for_url("**/results/query?*")
    methods = page.locator(".methods > section").count()
    while (done := page.locator(".hits").count()) < methods:
        page.get_by_role("button", name="Compute the top ten").first.click()
        expect(page.locator(".hits")).to_have_count(done + 1, timeout=120_000)
    frames.append(_frame(page, out / "viewer_query.png"))
    page.emulate_media(color_scheme="dark")
    page.goto(f"{base}/review?queue=stratified")
    frames.append(_frame(page, out / "viewer_review.png"))
    small = [frame.resize((720, 450), Image.Resampling.LANCZOS) for frame in frames]
    first, *rest = (frame.quantize(128, dither=Image.Dither.NONE) for frame in small)
    tour = {"save_all": True, "append_images": rest, "duration": 1800, "loop": 0, "optimize": True}
    first.save(out / "viewer_tour.gif", **tour)


def _frame(page: Page, path: Path | None = None) -> Image.Image:
    """Take a screenshot; save it with a palette of 256 colors, a third of the size, where a path is given."""
    page.wait_for_load_state("networkidle")
    page.wait_for_function(  # images below the screen are loaded when they are scrolled to
        """[...document.images].every(each => {
            const box = each.getBoundingClientRect();
            return box.top >= innerHeight || box.bottom <= 0 || (each.complete && each.naturalWidth > 0);
        })"""
    )
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    if path:
        image.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    return image


if __name__ == "__main__":
    main()
