"""A study is served for weeks on small machines, so its server imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
import retrieval.access, retrieval.study.pages, retrieval.study.serving
print(*sorted({"torch", "transformers", "sklearn", "scipy", "cv2", "matplotlib", "gradio"} & sys.modules.keys()))
"""


def test_the_server_imports_nothing_heavy(repository: object) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CODE], cwd=str(repository), capture_output=True, text=True, check=True
    )
    assert ended.stdout.split() == []
