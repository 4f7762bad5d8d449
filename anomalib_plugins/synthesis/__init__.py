# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Generators of simulated anomalies, which work on batches, on any device and from one seeded generator."""

from anomalib_plugins.synthesis.base import LOGICAL, NORMAL, STRUCTURAL, AnomalyGenerator, SyntheticBatch
from anomalib_plugins.synthesis.colour import colour_jitter
from anomalib_plugins.synthesis.cutswap import CutPaste, CutSwap
from anomalib_plugins.synthesis.masks import Foreground, perlin_noise
from anomalib_plugins.synthesis.merged import MergedTexture
from anomalib_plugins.synthesis.simulated import SimulatedAnomaly
from anomalib_plugins.synthesis.textures import ProceduralTextures, TextureFolder, TextureSource, texture_source

__all__ = [
    "LOGICAL",
    "NORMAL",
    "STRUCTURAL",
    "AnomalyGenerator",
    "CutPaste",
    "CutSwap",
    "Foreground",
    "MergedTexture",
    "ProceduralTextures",
    "SimulatedAnomaly",
    "SyntheticBatch",
    "TextureFolder",
    "TextureSource",
    "colour_jitter",
    "perlin_noise",
    "texture_source",
]
