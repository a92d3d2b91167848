"""The fused kernel: run by Triton's interpreter against the tiled form, compiled for GPUs, and run where one is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pretrain.losses.batch_triplet import batch_triplet_loss
from pretrain.losses.batch_triplet_tiled import tiled_total

triton = pytest.importorskip("triton", reason="Triton comes with PyTorch on Linux only")

REPOSITORY = Path(__file__).resolve().parents[4]

# The interpreter is chosen when Triton is imported, so the kernel runs in a process of its own.
INTERPRET = """
import sys
import numpy as np, torch
from pretrain.losses.batch_triplet_triton import fused_total

given, results = np.load(sys.argv[1]), {}
for name in {key.split("/")[0] for key in given.files}:
    image, sound = (torch.from_numpy(given[f"{name}/{side}"]).requires_grad_() for side in ("image", "sound"))
    margin = float(given[f"{name}/margin"])
    total = fused_total(image, sound, margin)
    gradients = torch.autograd.grad(total, (image, sound))
    with torch.no_grad():
        results[f"{name}/without_gradients"] = fused_total(image, sound, margin).numpy()
    results |= {f"{name}/total": total.detach().numpy()}
    results |= {f"{name}/gradient_{side}": g.numpy() for side, g in zip(("image", "sound"), gradients)}
np.savez(sys.argv[2], **results)
"""

# Name: (n, d, margin). Blocks are 64 × 32 pairs (32 × 16 beyond 128 dimensions): most sizes are no multiple of either.
SIZES = {
    "smallest": (2, 1, 1.0),
    "one_short": (63, 5, 0.3),
    "exact": (64, 16, 1.0),
    "ragged": (130, 20, 2.5),
    "embedding": (97, 128, 1.0),
    "wide": (70, 150, 1.0),
    "coinciding": (90, 6, 0.5),
    "collapsed": (70, 3, 0.5),
    "nan": (70, 3, 1.0),
    "inf": (70, 3, 1.0),
}
FINITE = [name for name in SIZES if name not in ("nan", "inf")]


def embeddings(name: str) -> tuple[torch.Tensor, torch.Tensor, float]:
    n, d, margin = SIZES[name]
    image, sound = torch.randn(2, n, d, generator=torch.Generator().manual_seed(n + d))
    if name == "coinciding":
        sound[5] = image[5]
    elif name == "collapsed":
        image, sound = torch.full((2, n, d), 0.1)
    elif name in ("nan", "inf"):
        sound[68, 1] = float(name)
    return image.clone().requires_grad_(), sound.clone().requires_grad_(), margin


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """What the kernel gives for all sizes: "<name>/total", "<name>/gradient_image" and so on."""
    folder = tmp_path_factory.mktemp("interpreted")
    given: dict[str, np.ndarray] = {}
    for name in SIZES:
        image, sound, margin = embeddings(name)
        given |= {f"{name}/image": image.detach().numpy(), f"{name}/sound": sound.detach().numpy()}
        given |= {f"{name}/margin": np.array(margin)}
    np.savez(folder / "given.npz", **given)  # type: ignore[arg-type]
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", INTERPRET, folder / "given.npz", folder / "results.npz"],
        env=environment,
        check=True,
        timeout=120,
    )
    results = np.load(folder / "results.npz")
    return {key: torch.from_numpy(results[key]) for key in results.files}


@pytest.mark.parametrize("name", FINITE)
def test_equals_the_tiled_form(name: str, interpreted: dict[str, torch.Tensor]) -> None:
    image, sound, margin = embeddings(name)
    exact = tiled_total(image.double(), sound.double(), margin)
    torch.testing.assert_close(interpreted[f"{name}/total"], exact.float(), rtol=2e-6, atol=1e-5)
    torch.testing.assert_close(interpreted[f"{name}/without_gradients"], interpreted[f"{name}/total"])
    for side, gradient in zip(("image", "sound"), torch.autograd.grad(exact, (image, sound)), strict=True):
        atol = 1e-6 + 1e-5 * gradient.abs().max().item()
        torch.testing.assert_close(interpreted[f"{name}/gradient_{side}"], gradient, rtol=1e-4, atol=atol)


def test_embeddings_that_coincide_have_no_gradient(interpreted: dict[str, torch.Tensor]) -> None:
    assert interpreted["collapsed/total"].item() == pytest.approx(0.5 * 2 * 70 * 69)
    assert interpreted["collapsed/gradient_image"].abs().max() == 0


@pytest.mark.parametrize("name", ["nan", "inf"])
def test_what_is_not_finite_is_not_hidden(name: str, interpreted: dict[str, torch.Tensor]) -> None:
    assert not torch.isfinite(interpreted[f"{name}/total"])
    assert not torch.isfinite(interpreted[f"{name}/without_gradients"])
    assert not torch.isfinite(interpreted[f"{name}/gradient_sound"][68]).all()


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("dimensions", [128, 256])
def test_compiles_for_gpus_within_their_shared_memory(
    capability: int, dimensions: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from pretrain.losses.batch_triplet_triton import _one_side_kernel, block_shape

    names = _one_side_kernel.arg_names
    rows, columns, padded = block_shape(dimensions)
    source = ASTSource(
        _one_side_kernel,
        signature=dict.fromkeys(names[:6], "*fp32") | dict.fromkeys(names[6:], "constexpr"),
        constexprs=dict(zip(names[6:], (10_000, dimensions, padded, rows, columns, True), strict=True)),
    )
    kernel = triton.compile(source, GPUTarget("cuda", capability, 32), {"num_warps": 8, "num_stages": 2})
    # Capability 8.6 has the least that a block may have from 8.0 on.
    assert kernel.metadata.shared <= 99 * 1024
    assert "tf32" not in kernel.asm["ptx"]


@pytest.mark.parametrize(
    ("dimensions", "dtype", "capability", "expected"),
    [
        (128, torch.float32, (8, 0), True),
        (256, torch.float32, (9, 0), True),
        (257, torch.float32, (9, 0), False),
        (128, torch.float64, (9, 0), False),
        (128, torch.float32, (7, 5), False),
    ],
)
def test_leaves_to_the_tiled_form_what_it_can_not_take(
    dimensions: int,
    dtype: torch.dtype,
    capability: tuple[int, int],
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pretrain.losses.batch_triplet_triton import is_fit

    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert is_fit(torch.empty(4, dimensions), dtype) is expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu_a_large_batch_equals_the_tiled_form_on_the_cpu() -> None:
    image, sound = torch.randn(2, 2051, 128, generator=torch.Generator().manual_seed(0))
    image, sound = image.requires_grad_(), sound.requires_grad_()
    exact = tiled_total(image.double(), sound.double(), 1.0) / (2 * 2051 * 2050)
    ours = batch_triplet_loss(image.cuda(), sound.cuda())
    torch.testing.assert_close(ours.cpu(), exact.float(), rtol=1e-5, atol=0)
    for a, b in zip(torch.autograd.grad(ours, (image, sound)), torch.autograd.grad(exact, (image, sound)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * b.abs().max().item())
