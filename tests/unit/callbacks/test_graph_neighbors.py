# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
import torch
from anomalib.data import ImageBatch
from lightning.pytorch import Trainer
from PIL import Image
from torch.utils.data import DataLoader

from anomalib_plugins import GraphNeighbors, Pouta, Slsg
from anomalib_plugins.callbacks.graph_neighbors import draw_neighbors
from anomalib_plugins.models.slsg.torch_model import SlsgModel

RED, YELLOW = (255, 0, 0), (255, 255, 0)


def places(picture, colour):
    """Patches of 16 x 16 px that are framed in a colour, as (row, column)."""
    framed = (np.asarray(picture) == colour).all(axis=2)[2:-2, 2:-2]
    return {(r // 16, c // 16) for r, c in zip(*framed.nonzero(), strict=True) if r % 16 == 8 or c % 16 == 8}


def test_the_frames_are_the_graph_of_the_most_anomalous_patch():
    torch.manual_seed(0)
    network, image = SlsgModel().eval(), torch.rand(1, 3, 128, 128)
    seen = []
    hook = network.sg_block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        maps = network(image).anomaly_map
        hook.remove()
        graph = network.sg_block.graph(seen[0])[0]
    picture = draw_neighbors(network, image)
    rows, columns = divmod(int(maps.argmax()), 128)
    patch = rows // 16 * 8 + columns // 16
    red = places(picture, RED)
    assert (patch // 8, patch % 8) in red
    wanted = {divmod(n, 8) for n in graph[patch].tolist()}
    assert places(picture, YELLOW) | red >= wanted


def test_a_picture_of_each_test(tmp_path):
    model = Slsg(image_size=[64, 64], pretrain="none", evaluator=False, visualizer=False)
    data = DataLoader(
        [ImageBatch(image=torch.rand(3, 3, 64, 64), gt_label=torch.zeros(3, dtype=torch.bool))], batch_size=None
    )
    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False, "accelerator": "cpu"}
    Trainer(callbacks=[GraphNeighbors(2)], default_root_dir=tmp_path, **quiet).test(model, data, verbose=False)
    assert Image.open(tmp_path / "graph_neighbors.png").size == (2 * 66 + 2, 68)
    with pytest.raises(ValueError, match="remove the callback"):
        Trainer(callbacks=[GraphNeighbors()], **quiet).test(Pouta(image_size=[64, 64]), data)
