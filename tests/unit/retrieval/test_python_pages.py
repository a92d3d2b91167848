"""What the pages show of `import earshot` runs as it is printed, in a folder with files of these names."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile
from commands import REPOSITORY, run
from raster_files import write_raster
from released_runs import small_towers
from tiny_shards import write_tiny_shards

PAGES = {"README.md": "Weights in two lines", "retrieval/README.md": "In Python"}


def printed_code(page: str) -> str:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    section = text.partition(f"\n## {PAGES[page]}\n")[2].partition("\n## ")[0]
    [code] = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    return str(code)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    small_towers().save_pretrained(folder / "RUN" / "model")
    write_tiny_shards(folder / "SHARDS", {"train": 5, "test": 6}, image_side=40)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, 50, 50), dtype=np.uint8)
    write_raster(folder / "harbour.tif", pixels)
    (folder / "IMAGES").mkdir()
    (folder / "RECORDINGS").mkdir()
    for path in (folder / "forest.jpg", folder / "IMAGES" / "a.png", folder / "IMAGES" / "b.png"):
        cv2.imwrite(str(path), pixels.transpose(1, 2, 0))
    (folder / "IMAGES" / "c.jpg").write_text("no image")
    for name in ("a.wav", "b.flac", "c.ogg"):
        soundfile.write(folder / "RECORDINGS" / name, rng.normal(0, 0.1, 20_000), 16_000)
    return folder


@pytest.mark.parametrize(
    ("page", "lines"),
    [
        ("README.md", [r"\[\[-\d\S* +-\d\S* +-\d\S*\]", r" \[-\d\S* +-\d\S* +-\d\S*\]\]"]),
        (
            "retrieval/README.md",
            [
                r"\(2, 128\) IMAGES/a\.png \[\('IMAGES/c\.jpg', 'undecodable image'\)\]",
                *(rf"{rank} 10\d\d \d+\.\d+ place 10\d\d -?\d+\.0 40\.0" for rank in (1, 2, 3)),
                r"torch\.Size\(\[3, 32, 32\]\) torch\.Size\(\[1, 128, 128\]\)",
            ],
        ),
    ],
)
def test_the_printed_code_runs(page: str, lines: list[str], folder: Path) -> None:
    (folder / "code.py").write_text(printed_code(page), encoding="utf-8")
    result = run([sys.executable, str(folder / "code.py")], cwd=folder)
    assert result.returncode == 0, result.stderr
    printed = result.stdout.splitlines()
    assert len(printed) == len(lines), result.stdout
    for line, pattern in zip(printed, lines, strict=True):
        assert re.fullmatch(pattern, line), line
