# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from anomalib.data import ImageBatch
from PIL import Image
from torch.utils.data import DataLoader

from anomalib_plugins import GraphNeighbors, Pouta, Slsg
from anomalib_plugins.callbacks import graph_neighbors
from anomalib_plugins.models.slsg.torch_model import SlsgModel

from ...training import quiet_trainer


def test_the_frames_are_the_graph_of_the_most_anomalous_patch(monkeypatch):
    torch.manual_seed(0)
    network, image = SlsgModel().eval(), torch.rand(1, 3, 128, 128)
    seen, frames = [], []
    hook = network.sg_block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        row, column = divmod(int(network(image).anomaly_map.argmax()), 128)
        hook.remove()
        patch = row // 16 * 8 + column // 16
        graph = network.sg_block.graph(seen[0])[0, patch].tolist()

    def record(shown, boxes, colors, width):
        frames.append((boxes, colors))
        return shown

    monkeypatch.setattr(graph_neighbors, "draw_bounding_boxes", record)
    graph_neighbors.draw_neighbors(network, image)
    ((boxes, colours),) = frames
    expected = [each for each in graph if each != patch] + [patch]
    assert boxes.tolist() == [[c * 16, r * 16, c * 16 + 16, r * 16 + 16] for r, c in (divmod(n, 8) for n in expected)]
    assert colours == ["yellow"] * (len(expected) - 1) + ["red"]


def test_a_picture_of_each_test(tmp_path):
    model = Slsg(image_size=[64, 64], pretrain="none", evaluator=False, visualizer=False)
    data = DataLoader(
        [ImageBatch(image=torch.rand(3, 3, 64, 64), gt_label=torch.zeros(3, dtype=torch.bool))], batch_size=None
    )
    quiet_trainer(callbacks=[GraphNeighbors(2)], default_root_dir=tmp_path).test(model, data, verbose=False)
    assert Image.open(tmp_path / "graph_neighbors.png").size == (2 * 66 + 2, 68)
    with pytest.raises(ValueError, match="remove the callback"):
        quiet_trainer(callbacks=[GraphNeighbors()]).test(Pouta(image_size=[64, 64]), data)
