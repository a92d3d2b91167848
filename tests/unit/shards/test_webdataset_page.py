"""The pipeline that the manual shows for plain webdataset runs as it is printed, and reads what the set holds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tiny_shards import write_tiny_shards

PAGE = Path(__file__).resolve().parents[3] / "shards" / "README.md"


def test_the_printed_pipeline_reads_batches(tmp_path: Path) -> None:
    shards = write_tiny_shards(tmp_path / "set", {"train": 40, "val": 4}, image_side=32)
    section = PAGE.read_text(encoding="utf-8").partition("\n## Reading with webdataset\n")[2].partition("\n## ")[0]
    [code] = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert "SHARDS/" in code
    assert "shards." not in code  # nothing of Earshot is imported
    # In an interpreter that finds no Earshot.
    run = subprocess.run([sys.executable, "-c", code.replace("SHARDS", str(shards))], cwd=tmp_path, env={},
                         capture_output=True, text=True)  # fmt: skip
    assert run.returncode == 0, run.stderr
    shapes = run.stdout.splitlines()
    assert shapes == [
        *(2 * ["(16, 32, 32, 3) (16, 128, 128) (16, 2)"]),
        "(8, 32, 32, 3) (8, 128, 128) (8, 2)",
    ]
