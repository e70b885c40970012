"""The report in a real browser: Chromium parses, lays out and draws it without a network."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from fake_run import MEANS, SCORED, STAGES, Page, build_run

from cascade_rl.report import write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PNG = b"\x89PNG\r\n\x1a\n"

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no chromium, chromium-browser or google-chrome on PATH"
)


def chromium(page: Path, profile: Path, *options: str) -> str:
    """Run Chromium once on a page and return what it prints."""
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={profile}", *options, page.resolve().as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, encoding="utf-8")
    return done.stdout


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a finished run."""
    return write_report(build_run(tmp_path_factory.mktemp("browser") / "tiny"))


@pytest.fixture(scope="module")
def dom(report: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page as the browser holds it after parsing."""
    return Page(chromium(report, tmp_path_factory.mktemp("profile"), "--dump-dom"))


def test_the_browser_finds_all_matrix_cells(dom: Page) -> None:
    cells = {(a["data-benchmark"], a["data-stage"]): text for a, text in dom.find("cell")}
    assert set(cells) == {(name, stage) for name in MEANS for stage in SCORED}
    assert cells["maths", "math-rl"].startswith("81.9")


def test_the_browser_finds_stages_curves_and_samples(dom: Page) -> None:
    assert all(dom.find(id=f"stage-{name}") for name in STAGES)
    lines = [attrs["d"] for tag, attrs in dom.elements if tag == "path" and attrs.get("class") == "line"]
    assert len(lines) > 40 and all(len(d) > 10 for d in lines)
    assert len(dom.find("curve")) > 40 and len(dom.find("sample")) == 36


@pytest.mark.parametrize("width", [1400, 500])
def test_the_browser_draws_the_page(report: Path, tmp_path: Path, width: int) -> None:
    picture = tmp_path / "page.png"
    chromium(report, tmp_path / "profile", f"--window-size={width},1200", f"--screenshot={picture}")
    data = picture.read_bytes()
    assert data.startswith(PNG) and int.from_bytes(data[16:20], "big") == width
    assert len(data) > 30_000, "the picture is nearly blank"


def test_nothing_overflows_sideways(report: Path, tmp_path: Path) -> None:
    probe = "<script>document.title='w'+document.documentElement.scrollWidth+'/'+innerWidth</script></body>"
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", report.read_text(encoding="utf-8"))
    page = tmp_path / "probe.html"
    page.write_text(text.replace("</body>", probe), encoding="utf-8")
    out = chromium(page, tmp_path / "profile", "--window-size=500,900", "--dump-dom")
    wide, window = map(int, re.search(r"<title>w(\d+)/(\d+)</title>", out).groups())
    assert wide <= window
