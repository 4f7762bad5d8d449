# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What every registered model must do. A new model adds one row to ``cases.py``."""

import inspect
import shutil
import socket
import time
from functools import cache

import pytest
import torch
from anomalib.callbacks import TilerConfigurationCallback
from anomalib.engine import Engine
from anomalib.models import AnomalibModule
from sklearn.metrics import roc_auc_score
from torch.testing import assert_close

from anomalib_plugins.components import weights
from anomalib_plugins.registry import PLUGINS

from .cases import CASES
from .conftest import SIZE

OTHER_SIZE = (96, 64)


def exactly_equal(first, second):
    assert_close(first, second, rtol=0, atol=0, equal_nan=True)


def images(count=3, size=SIZE):
    """Noise of different colours and contrasts."""
    generator = torch.Generator().manual_seed(0)
    colour, contrast = torch.rand(2, count, 3, 1, 1, generator=generator)
    return torch.lerp(colour, torch.rand(count, 3, *size, generator=generator), contrast)


@torch.no_grad()
def predict(model, batch):
    return model.eval()(batch)._asdict()


def test_every_model_has_a_case():
    assert set(CASES) == {plugin.name for plugin in PLUGINS if plugin.kind == "model"}


# Training


def test_builds_without_network(build):
    assert isinstance(build(), AnomalibModule)


def test_a_download_waits_for_the_training(plugin, monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        msg = "a socket was opened"
        raise OSError(msg)

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(weights, "try_to_load_from_cache", lambda *args: None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    options = inspect.signature(plugin.load()).parameters
    plugin.load()()
    if "pre_trained" not in options:
        return
    small = {"backbone": "resnet18"} if "backbone" in options else {}
    model = plugin.load()(pre_trained=True, **small)
    with pytest.raises(FileNotFoundError, match=r"cannot be downloaded .*`pre_trained=False`"):
        model.setup("fit")


def test_same_seed_same_initial_state(build, trained):
    torch.manual_seed(5)
    exactly_equal(dict(build().state_dict()), trained.start)


def test_other_seed_other_initial_state(build, trained):
    state = build(seed=1).state_dict()
    assert any(not torch.equal(state[name], each) for name, each in trained.start.items() if each.is_floating_point())


def test_training_moves_what_it_optimizes(trained):
    names = {id(parameter): name for name, parameter in trained.model.named_parameters()}
    groups = [group for optimizer in trained.engine.trainer.optimizers for group in optimizer.param_groups]
    optimized = [names[id(parameter)] for group in groups for parameter in group["params"]]
    # A memory bank has no optimizer; its buffers are filled.
    learned = optimized or [name for name, _ in trained.model.model.named_buffers(prefix="model")]
    moved = [name for name in learned if not torch.equal(trained.start[name], trained.state[name])]
    assert moved == learned if optimized else moved


def test_trained_state_and_losses_are_finite(trained):
    post_processor = {name for name in trained.state if name.startswith("post_processor")}
    unset = [name for name, each in trained.state.items() if not each.isfinite().all() and name not in post_processor]
    assert not unset
    assert all(value.isfinite() for value in trained.engine.trainer.callback_metrics.values())


def test_same_seed_same_training(build, fit, trained):
    again = fit(build())
    exactly_equal(again.state, trained.state)
    exactly_equal(predict(again.model, images()), predict(trained.model, images()))


@pytest.mark.parametrize("epoch", [0, -2], ids=["first phase", "last phase"])
def test_resumed_training_reaches_the_weights_of_an_unbroken_one(build, fit, trained, epoch):
    checkpoint = trained.checkpoints[epoch]
    (position,) = [
        state
        for key, state in torch.load(checkpoint, weights_only=True)["callbacks"].items()
        if key == trained.model.schedule.state_key
    ]
    index, schedule = position["index"], trained.model.schedule
    assert index == (0 if epoch == 0 else len(schedule.phases) - 1)
    taken = position["taken"][index]
    # What fills a memory is one epoch long: no end of an epoch lies within it.
    assert taken == 0 if schedule.phases[index].full_pass else 0 < taken < schedule.lengths[index]

    resumed = fit(build(), ckpt_path=checkpoint)
    exactly_equal(resumed.state, trained.state)


LIMITS = {"max_epochs": 3, "max_steps": 4, "max_time": {"seconds": 3}}


@pytest.fixture(scope="module")
def limited(build, fit):
    """Trainings that would be endless, and the seconds they took."""

    @cache
    def run(limit, size):
        model = build(endless=True, image_size=size)
        begin = time.monotonic()
        return fit(model, **{limit: LIMITS[limit]}), time.monotonic() - begin

    return run


@pytest.mark.parametrize(("limit", "size"), [("max_epochs", SIZE), ("max_steps", OTHER_SIZE), ("max_time", SIZE)])
def test_limits_of_the_trainer_shorten_every_phase(limited, datamodule, limit, size):
    (model, engine, *_), seconds = limited(limit, size)
    assert model.schedule.index >= len(model.schedule.phases) - 1, "the last phase was never reached"
    done = {"max_epochs": engine.trainer.current_epoch, "max_steps": model.schedule.total_steps, "max_time": seconds}
    # A memory comes on top; between two phases it also costs the rest of the epoch in which the first one ends.
    *before, last = model.schedule.phases
    memories = sum(2 * phase.full_pass for phase in before) + last.full_pass
    allowed = {"max_epochs": 3 + memories, "max_steps": 4, "max_time": 30}
    assert 0 < done[limit] <= allowed[limit]

    data = datamodule()
    data.setup()
    with torch.no_grad():
        inputs = [model.pre_processor.transform(batch.image) for batch in data.val_dataloader()]
        scores = torch.cat([model.model(each).pred_score for each in inputs])
    assert_close(model.post_processor.image_max, scores.max(), msg="thresholds are not those of the final weights")


# Prediction


def test_predictions_are_finite_scores_and_maps(trained):
    with torch.no_grad():
        prediction = trained.model.model.eval()(images())
    assert prediction.pred_score.shape == (3,)
    assert prediction.anomaly_map.shape == (3, 1, *SIZE)
    assert prediction.pred_score.isfinite().all()
    assert prediction.anomaly_map.isfinite().all()


@torch.no_grad()
def test_score_does_not_depend_on_the_batch(trained):
    """Raw scores: normalisation makes rounding visible where, as after seconds of training, all scores are alike."""
    network = trained.model.eval().model
    together = network(images()).pred_score
    alone = torch.cat([network(image[None]).pred_score for image in images()])
    assert_close(together, alone, rtol=0, atol=1e-5)


def test_checkpoint_gives_the_model_back_bit_for_bit(plugin, trained):
    checkpoint = trained.checkpoints[-1]
    bare = torch.load(checkpoint, weights_only=True)
    exactly_equal(bare["state_dict"], dict(trained.state))

    loaded = plugin.load().load_from_checkpoint(checkpoint)
    exactly_equal(loaded.state_dict(), trained.state)
    exactly_equal(predict(loaded, images()), predict(trained.model, images()))


def test_engine_predicts_the_same_from_a_checkpoint(build, fit, trained, datamodule):
    fresh = build(seed=1)
    expected = trained.engine.predict(trained.model, datamodule=datamodule())
    predicted = trained.engine.predict(fresh, datamodule=datamodule(), ckpt_path=trained.checkpoints[-1])
    for one, other in zip(predicted, expected, strict=True):
        exactly_equal([one.pred_score, one.anomaly_map], [other.pred_score, other.anomaly_map])
        assert torch.equal(one.pred_label, other.pred_label)


def test_reported_auroc_is_that_of_raw_scores(plugin, trained, datamodule):
    """Also where the post-processor makes all scores equal, as after validation images that scored higher."""
    model = plugin.load().load_from_checkpoint(trained.checkpoints[-1])
    data = datamodule()
    data.setup()
    with torch.no_grad():
        batches = [(batch, model.eval().model(batch.image)) for batch in data.test_dataloader()]
    scores = torch.cat([prediction.pred_score for _, prediction in batches])
    maps = torch.cat([prediction.anomaly_map for _, prediction in batches])
    labels = torch.cat([batch.gt_label for batch, _ in batches])
    masks = torch.cat([batch.gt_mask for batch, _ in batches])
    for kind, values in (("image", scores), ("pixel", maps)):
        for name, value in ((f"{kind}_min", 1), (f"{kind}_max", 2), (f"_{kind}_threshold", 2)):
            getattr(model.post_processor, name).copy_(values.max() + value)
    assert predict(model, batches[0][0].image)["pred_score"].unique().numel() == 1

    (reported,) = trained.engine.test(model, datamodule=data, verbose=False)
    expected = roc_auc_score(labels, scores)
    assert abs(expected - 0.5) > 0.01, "that is what equal scores would give"
    assert reported["image_AUROC"] == pytest.approx(expected, abs=1e-6)
    assert reported["pixel_AUROC"] == pytest.approx(roc_auc_score(masks.flatten(), maps.flatten()), abs=1e-6)


# Never normal


def statistics(name, scores):
    """State of a post-processor after validation: threshold, smallest and largest score."""
    low, high, nan = scores.min(), scores.max(), torch.tensor(torch.nan)
    return {
        "validation never ran": (nan, nan, nan),
        "all scores were equal": (high, high, high),
        "threshold is the largest score": (high, low, high),
        "no threshold": (nan, low, high),
    }[name]


BREAKS = {
    "one NaN": lambda image: image[0, 5, 7].fill_(torch.nan),
    "all NaN": lambda image: image.fill_(torch.nan),
    "infinity": lambda image: image[2, 0, 0].fill_(torch.inf),
    "minus infinity": lambda image: image[1, -1, -1].fill_(-torch.inf),
    "0 to 255": lambda image: image.mul_(255),
    "normalised": lambda image: image.sub_(0.45).div_(0.225),
    "one pixel of 255": lambda image: image[0, 5, 7].fill_(255),
}


def broken(how, size=SIZE):
    """A batch whose second image of three is broken."""
    batch = images(size=size)
    BREAKS[how](batch[1])
    return batch


@pytest.mark.parametrize("exported", [False, True], ids=["eager", "as exported"])
@pytest.mark.parametrize(
    "state",
    ["as fitted", "validation never ran", "all scores were equal", "threshold is the largest score", "no threshold"],
)
def test_broken_image_is_never_normal_whatever_validation_saw(plugin, trained, monkeypatch, state, exported):
    model = plugin.load().load_from_checkpoint(trained.checkpoints[-1]).eval()
    if state != "as fitted":
        clean = model.model(images())
        for kind, values in (("image", clean.pred_score), ("pixel", clean.anomaly_map)):
            threshold, low, high = statistics(state, values)
            for name, value in ((f"_{kind}_threshold", threshold), (f"{kind}_min", low), (f"{kind}_max", high)):
                getattr(model.post_processor, name).copy_(value)
    # anomalib's post-processor treats thresholds that are NaN otherwise in exported graphs.
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: exported)
    prediction = predict(model, broken("one NaN"))
    assert prediction["pred_label"][1]
    assert prediction["pred_mask"][1].all()
    assert prediction["pred_score"].isfinite().all()
    assert prediction["pred_score"][1] == prediction["pred_score"].max()


# Export

# Largest difference of scores from torch's.
TOLERANCE = {"torch": 0.0, "onnx": 1e-4, "openvino f32": 1e-4, "openvino default": 1e-2}
# Where the processor has bfloat16 OpenVINO computes in it by default. Its numbers are so far apart from 0.5 to 1, where
# scores lie: a map may be off by that much on average, and the worst of its thousands of pixels by five times that.
BFLOAT16_STEP = 2**-8
FIXED = ["torch", "openvino f32", "openvino default"]


@torch.no_grad()
def typical(model):
    """Give it statistics as after a long training, which keep scores apart: in seconds all become alike."""
    prediction = model.eval().model(images(5, model.input_size))
    for kind, values in (("image", prediction.pred_score), ("pixel", prediction.anomaly_map)):
        for name, value in ((f"{kind}_min", 0), (f"_{kind}_threshold", 1), (f"{kind}_max", 2)):
            getattr(model.post_processor, name).copy_(value * values.mean())
    return model


def onnx_runtime(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda batch: dict(zip(names, session.run(None, {"input": batch.numpy()}), strict=True))


def openvino_runtimes(network):
    import openvino

    def runtime(**config):
        compiled = openvino.Core().compile_model(network, "CPU", config)
        return lambda batch: {output.any_name: value for output, value in compiled(batch.numpy()).items()}

    return {"openvino f32": runtime(INFERENCE_PRECISION_HINT="f32"), "openvino default": runtime()}


def torch_runtime(path):
    pickled = torch.load(path, weights_only=False)["model"]
    return lambda batch: predict(pickled, batch)


# The export to ONNX takes seconds and anomalib's to OpenVINO begins with it: each fixture makes one.


@pytest.fixture(scope="module")
def exported(plugin, trained, tmp_path_factory):
    """Model with a checkpoint's weights, and how its files predict, which leave number and sizes of images open."""
    import openvino

    model = typical(plugin.load().load_from_checkpoint(trained.checkpoints[-1]))
    before = {name: each.clone() for name, each in [*model.state_dict().items(), *model.named_buffers()]}
    folder = tmp_path_factory.mktemp("exported")
    onnx = Engine(logger=False).export(model, "onnx", export_root=folder)
    open_ = openvino_runtimes(openvino.convert_model(onnx))
    yield model, before, {"torch": torch_runtime(model.to_torch(folder)), "onnx": onnx_runtime(onnx), **open_}
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def exported_at_other_size(limited, tmp_path_factory):
    """Model built and trained at another size, and how its files predict, which OpenVINO's is fixed to."""
    model = typical(limited("max_steps", OTHER_SIZE)[0].model)
    folder = tmp_path_factory.mktemp("exported")
    file = Engine(logger=False).export(model, "openvino", export_root=folder, input_size=OTHER_SIZE)
    fixed = openvino_runtimes(file)
    yield model, {"torch": torch_runtime(model.to_torch(folder)), **fixed}
    shutil.rmtree(folder)


def assert_parity(model, run, batch, runtime):
    expected, got = predict(model, batch), run[runtime](batch)
    assert set(got) == set(expected)
    errors = [torch.as_tensor(got[name]) - expected[name] for name in ("pred_score", "anomaly_map")]
    assert all(error.isfinite().all() for error in errors)
    score, pixels = (error.abs().max() for error in errors)
    assert score <= TOLERANCE[runtime]
    if runtime == "openvino default":
        assert errors[1].square().mean().sqrt() <= BFLOAT16_STEP
        assert pixels <= 5 * BFLOAT16_STEP
    else:
        assert pixels <= TOLERANCE[runtime]


@pytest.mark.parametrize("runtime", TOLERANCE)
@pytest.mark.parametrize("count", [1, 5])
def test_exported_file_predicts_what_torch_does(exported, runtime, count):
    model, _, run = exported
    assert_parity(model, run, images(count), runtime)


def test_exported_scores_of_different_images_differ(exported):
    model, *_ = exported
    scores = predict(model, images(5))["pred_score"]
    assert scores.max() - scores.min() > TOLERANCE["onnx"], "parity of constant scores would prove nothing"


def test_export_leaves_the_state_as_it_was(exported):
    model, before, _ = exported
    exactly_equal(dict([*model.state_dict().items(), *model.named_buffers()]), before)


@pytest.mark.parametrize("count", [1, 5])
def test_file_with_open_sizes_takes_images_of_another_size(exported, count):
    model, _, run = exported
    assert_parity(model, run, images(count, size=(80, 100)), "onnx")


@pytest.mark.parametrize("runtime", FIXED)
@pytest.mark.parametrize("count", [1, 5])
def test_model_of_another_size_exports_too(exported_at_other_size, runtime, count):
    model, run = exported_at_other_size
    assert_parity(model, run, images(count, size=OTHER_SIZE), runtime)


def assert_never_normal(model, runtime, run, how):
    clean, got = predict(model, images(size=model.input_size)), run[runtime](broken(how, model.input_size))
    assert got["pred_label"][1]
    assert got["pred_mask"][1].all()
    scores = torch.as_tensor(got["pred_score"])
    assert scores.isfinite().all()
    assert scores[1] == scores.max()
    assert_close(scores[[0, 2]], clean["pred_score"][[0, 2]], rtol=0, atol=max(TOLERANCE[runtime], 1e-5))


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("runtime", TOLERANCE)
def test_broken_image_is_never_normal_in_an_exported_file(exported, runtime, how):
    model, _, run = exported
    assert_never_normal(model, runtime, run, how)


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("runtime", FIXED)
def test_broken_image_is_never_normal_in_a_file_of_fixed_size(exported_at_other_size, runtime, how):
    model, run = exported_at_other_size
    assert_never_normal(model, runtime, run, how)


@pytest.mark.parametrize("how", ["one NaN", "one pixel of 255"])
def test_shrinking_an_image_does_not_step_over_a_broken_pixel(exported, how):
    _, _, run = exported
    for runtime in ("torch", "onnx"):
        got = run[runtime](broken(how, size=(4 * SIZE[0], 4 * SIZE[1])))
        assert got["pred_label"][1], runtime


# Tiles


@pytest.fixture(scope="module")
def tiled(plugin, trained):
    """A model that anomalib's callback has told to work on tiles which overlap in one direction."""
    model = typical(plugin.load().load_from_checkpoint(trained.checkpoints[-1]))
    tiles = TilerConfigurationCallback(enable=True, tile_size=(32, 40), stride=(32, 24))
    tiles.setup(None, model)
    return model


def test_tiles_belong_to_the_checkpoint(tiled, trained, plugin):
    checkpoint = torch.load(trained.checkpoints[-1], weights_only=True)
    tiled.on_save_checkpoint(checkpoint)
    loaded = plugin.load().load_from_checkpoint(trained.checkpoints[-1])
    batch, whole = images(2), predict(loaded.model, images(2))
    loaded.on_load_checkpoint(checkpoint)
    exactly_equal(predict(loaded.model, batch), predict(tiled.model, batch))
    assert not torch.equal(whole["anomaly_map"], predict(tiled.model, batch)["anomaly_map"])


def test_exported_files_cut_and_merge_tiles(tiled, tmp_path):
    import openvino

    with pytest.warns(UserWarning, match=r"model.onnx is of ONNX opset 18: torch's exporter cannot write 17"):
        path = tiled.to_onnx(tmp_path, opset_version=17)
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"], "a file that is two"
    files = {"onnx": onnx_runtime(path), **openvino_runtimes(openvino.convert_model(path))}
    for count in (1, 3):
        for runtime in ("onnx", "openvino f32"):
            assert_parity(tiled, files, images(count, (80, 200)), runtime)
