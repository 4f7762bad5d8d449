# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Checkpoints and weights that are damaged, foreign or hostile, and places that take none."""

import os
import pickle
import signal
import subprocess
import time

import pytest
import torch

from anomalib_plugins import CutSwapPatchcore, Pouta, Slsg
from anomalib_plugins.callbacks.checkpoint_files import STAMP, CheckpointError, SafeCheckpointIO, stamp_checkpoint
from anomalib_plugins.components.weights import load_state_dict

from .conftest import SIZE, datamodule, engine, mounted, small


@pytest.fixture(scope="module")
def checkpoint(original, tmp_path_factory):
    """A checkpoint of a short training of Slsg."""
    folder = tmp_path_factory.mktemp("checkpoint")
    engine(folder, max_steps=2).fit(small(Slsg), datamodule=datamodule(original))
    return folder / "weights/model.ckpt"


def use(model, path, original, tmp_path):
    """Test a model with a checkpoint."""
    return engine(tmp_path).test(model, datamodule=datamodule(original), ckpt_path=path, verbose=False)


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.fixture
def hostile(tmp_path):
    """A pickle that leaves a trace when it is loaded, and the trace."""
    trace, path = tmp_path / "trace", tmp_path / "hostile.ckpt"
    torch.save({"state_dict": {}, "payload": Payload(trace)}, path)
    return path, trace


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 4 MB."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=4m", "tmpfs") as folder:
        yield folder


@pytest.mark.parametrize("how", ["truncated", "text", "empty", "missing"])
def test_a_checkpoint_that_cannot_be_read_is_named_without_advice_to_read_it_unsafely(
    checkpoint, original, tmp_path, how
):
    path = tmp_path / "x.ckpt"
    content = {"truncated": checkpoint.read_bytes()[:5000], "text": b"hello", "empty": b"", "missing": None}[how]
    if content is not None:
        path.write_bytes(content)
    says = "there is no checkpoint .*x.ckpt" if how == "missing" else rf"x.ckpt is damaged .*\({len(content)} bytes\)"
    for load in (Slsg.load_from_checkpoint, lambda path: use(small(Slsg), path, original, tmp_path)):
        with pytest.raises(CheckpointError, match=says) as error:
            load(path)
        assert "weights_only" not in str(error.value)


def test_a_checkpoint_of_another_model_is_refused_by_name(checkpoint, original, tmp_path):
    with pytest.raises(CheckpointError, match="is a checkpoint of Slsg, not of this Pouta: 0 of"):
        use(small(Pouta), checkpoint, original, tmp_path)
    with pytest.raises(CheckpointError, match="is a checkpoint of Slsg, not of Pouta: choose that model"):
        Pouta.load_from_checkpoint(checkpoint)
    content = torch.load(checkpoint, weights_only=True)
    content[STAMP]["model"] = "Twin"  # with the same tensors
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=r"is a checkpoint of Twin, not of this Slsg: (\d+) of \1 tensors match"):
        use(small(Slsg), tmp_path / "x.ckpt", original, tmp_path)


def test_a_checkpoint_of_nobody_knows_what_is_refused(checkpoint, original, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    del content[STAMP]
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(
        CheckpointError, match="is a checkpoint of another model, or of other options, not of this Pouta"
    ):
        use(small(Pouta), tmp_path / "x.ckpt", original, tmp_path)


def test_a_checkpoint_of_a_model_with_another_head_is_refused_with_both_shapes(tmp_path):
    options = {"image_size": SIZE, "pre_trained": False, "saliency": "backbone"}
    trained, other = (CutSwapPatchcore(**options, head_dims=dims) for dims in ([512, 128], [512, 64]))
    content = {"state_dict": trained.state_dict()}
    stamp_checkpoint(content, trained)
    torch.save(content, tmp_path / "x.ckpt")
    assert SafeCheckpointIO(trained).load_checkpoint(tmp_path / "x.ckpt")
    says = r"is of a CutSwapPatchcore with other options: \d tensors .* is \(128, 512\) there and \(64, 512\) here"
    with pytest.raises(CheckpointError, match=says):
        SafeCheckpointIO(other).load_checkpoint(tmp_path / "x.ckpt")


@pytest.mark.parametrize(("there", "here"), [("none", "gpt"), ("gpt", "none")])
def test_a_checkpoint_with_other_parts_than_these_options_have_is_refused_in_one_line(tmp_path, there, here):
    trained, other = (Slsg(image_size=SIZE, pretrain=pretrain) for pretrain in (there, here))
    content = {"state_dict": trained.state_dict(), "hyper_parameters": dict(trained.hparams)}
    stamp_checkpoint(content, trained)
    torch.save(content, tmp_path / "x.ckpt")
    assert SafeCheckpointIO(trained).load_checkpoint(tmp_path / "x.ckpt")
    where = r"missing there and \(.* here" if there == "none" else r"\(.* there and missing here"
    says = rf"of a Slsg with other options \(pretrain is '{there}' there and '{here}' here\): \d+ tensors .* is {where}"
    with pytest.raises(CheckpointError, match=rf"{says}\. Give the options it was trained with, or its -c FILE$"):
        SafeCheckpointIO(other).load_checkpoint(tmp_path / "x.ckpt")
    content["state_dict"] = {}  # as of another backbone
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=rf"pretrain is '{there}' there and '{here}' here\): \d+ tensors differ"):
        SafeCheckpointIO(other).load_checkpoint(tmp_path / "x.ckpt")


def test_a_checkpoint_of_an_older_version_is_used_with_a_warning(checkpoint, original, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    content[STAMP]["version"] = "0.0.1"
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.warns(UserWarning, match=r"x.ckpt was written by version 0.0.1"):
        use(small(Slsg), tmp_path / "x.ckpt", original, tmp_path)


def test_a_hostile_checkpoint_is_refused_and_not_run(hostile, original, tmp_path):
    path, trace = hostile
    with pytest.raises(CheckpointError, match=r"hostile.ckpt would run code when loaded"):
        use(small(Slsg), path, original, tmp_path)
    with pytest.raises(CheckpointError, match=r"hostile.ckpt would run code when loaded"):
        Slsg.load_from_checkpoint(path)
    assert not trace.exists()


def test_hostile_weights_are_refused_and_not_run(hostile):
    path, trace = hostile
    with pytest.raises(ValueError, match=r"hostile.ckpt is damaged or no weights file"):
        load_state_dict(path)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Payload(trace)))
    assert trace.exists(), "it would have proved nothing"


def test_a_disk_that_fills_while_saving_keeps_the_checkpoint_before(small_disk):
    io, path = SafeCheckpointIO(), small_disk / "model.ckpt"
    io.save_checkpoint({"weights": torch.ones(200_000)}, path)
    with pytest.raises(
        CheckpointError, match=r"No space left.*the one before is untouched. It needs 5 MB; 3 MB are free"
    ):
        io.save_checkpoint({"weights": torch.zeros(1_200_000)}, path)
    assert io.load_checkpoint(path)["weights"].sum() == 200_000
    assert [file.name for file in small_disk.iterdir()] == ["model.ckpt"]
    io.save_checkpoint({"weights": torch.zeros(550_000)}, path)  # moved there: the disk holds no two of it
    assert io.load_checkpoint(path)["weights"].sum() == 0


def test_a_disk_without_room_for_a_checkpoint_is_refused_before_training(small_disk, original):
    with pytest.raises(CheckpointError, match=r"a checkpoint needs up to \d+ MB, but 4 MB are free in .*disk"):
        engine(small_disk).fit(small(Pouta), datamodule=datamodule(original))


def test_a_results_folder_that_takes_no_files_is_refused_before_training(small_disk, original):
    running = engine(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises((CheckpointError, OSError), match="Read-only file system"):
        running.fit(small(Slsg), datamodule=datamodule(original))


def test_killed_while_saving_leaves_the_checkpoint_before(tmp_path, fork):
    io, path = SafeCheckpointIO(), tmp_path / "model.ckpt"
    io.save_checkpoint({"weights": torch.ones(1000)}, path)
    child = fork(lambda: [io.save_checkpoint({"weights": torch.zeros(100_000_000)}, path) for _ in range(100)])
    while not list(tmp_path.glob(".model.ckpt.*.part")):
        time.sleep(0.001)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert io.load_checkpoint(path)["weights"].sum() == 1000


def test_training_that_diverges_stops_and_replaces_no_good_weights(original, tmp_path):
    model, good = small(Slsg, pretrain="none", learning_rate=1e30), tmp_path / "weights/model.ckpt"
    SafeCheckpointIO().save_checkpoint({"weights": torch.ones(1)}, good)
    with pytest.raises(FloatingPointError, match="train_loss became nan"):
        engine(tmp_path).fit(model, datamodule=datamodule(original))
    next(model.parameters()).data[0] = torch.nan
    with pytest.raises(
        CheckpointError, match=r"training has diverged: 1 tensors, .*model.ckpt still has the last good ones"
    ):
        SafeCheckpointIO(model).save_checkpoint({}, good)
    assert [path.name for path in good.parent.iterdir()] == ["model.ckpt"]
    assert SafeCheckpointIO().load_checkpoint(good)["weights"] == 1


def test_a_memory_bank_too_large_is_refused_with_its_estimate_before_training(original, tmp_path):
    model = CutSwapPatchcore(
        image_size=SIZE,
        seed=0,
        pre_trained=False,
        saliency="backbone",
        steps=2,
        freeze_steps=1,
        batch_size=5,
        max_bank_size=8,
    )
    with pytest.raises(ValueError, match=r"would keep \d+ of \d+ patches .*lower coreset_sampling_ratio"):
        engine(tmp_path).fit(model, datamodule=datamodule(original))
