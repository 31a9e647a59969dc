"""A latent of 128x128 as the picture that the node shows, for every family, against the bare arithmetic of its formula."""

# pyright: reportMissingImports=false

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from comfyui_drawthings.drawthings_core import preview
from comfyui_drawthings.drawthings_core.preview import LatentRGB
from measure import Row, Work, compare
from other_client import OtherClient

SIDE = 128
FORMULAS = Path(preview.__file__).parent / "families" / "latent_rgb.json"
MOST = 1.5


def rows(quick: bool, other: OtherClient) -> Iterator[Row]:
    """The slowest family first, as the row of the table, then each of them."""
    formulas = [(version, formula) for (version, _), formula in preview.formulas().items() if formula.kind != "none"]
    found = [_family(version, formula, 0.02 if quick else 0.3) for version, formula in (formulas[::4] if quick else formulas)]
    slowest = max(found, key=lambda row: row.measured)
    yield Row(
        f"preview {SIDE}x{SIDE}, the slowest of {len(found)} families",
        slowest.ours,
        floor=slowest.floor,
        floor_is=slowest.floor_is,
        most=MOST,
        note=slowest.what,
        rounds=slowest.rounds,
    )
    yield from found


def _family(version: str, formula: LatentRGB, budget: float) -> Row:
    side = SIDE // (formula.patch_size or 1)
    latent = np.random.default_rng(0).normal(0, 0.5, (1, side, side, formula.channels)).astype(np.float16)
    work, floor_is = _floor(latent, formula)
    return compare(f"preview {version}", lambda: preview.rgb(latent, version), work, floor_is=floor_is, budget=budget)


def _floor(latent: np.ndarray, formula: LatentRGB) -> tuple[Work, str]:
    matrix, bias = formula.matrix, formula.bias
    if formula.kind == "direct_rgb":
        return lambda: latent.astype(np.float32) * np.float32(255), "float32, scaled"
    if formula.kind == "pixel_patches":
        return lambda: (latent.astype(np.float32) + np.float32(1)) * np.float32(127.5), "float32, scaled"
    assert matrix is not None
    assert bias is not None
    if formula.kind == "oklab":
        second = np.array(json.loads(FORMULAS.read_text(encoding="utf-8"))["oklab_to_rgb"]["rgb"], np.float32).T
        return lambda: (latent.astype(np.float32) @ matrix + bias) ** 3 @ second, "float32, both matrix products"
    return lambda: latent.astype(np.float32) @ matrix + bias, "float32, matrix product"
