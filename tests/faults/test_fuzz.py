# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Files and options that nobody thought of."""

import inspect
import io
import os
import traceback
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from anomalib.data.utils import read_image, read_mask
from anomalib.models import AnomalibModule
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonargparse import ArgumentError, ArgumentParser
from PIL import Image

from anomalib_plugins.benchmark.predictions import file_stem, path_of
from anomalib_plugins.inspection.image_files import read_file
from anomalib_plugins.registry import PLUGINS

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
KINDS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP")


def encoded(kind, mode="RGB"):
    buffer = io.BytesIO()
    PICTURE.convert(mode).save(buffer, kind)
    return buffer.getvalue()


FILES = {kind: encoded(kind) for kind in KINDS}


@st.composite
def damaged(draw):
    """A good file with bytes changed, cut off or put in."""
    data = bytearray(FILES[draw(st.sampled_from(KINDS))])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1))
        how = draw(st.sampled_from(("change", "cut", "insert")))
        if how == "change":
            data[at] = draw(st.integers(0, 255))
        elif how == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=20))
        elif at > 0:
            del data[at:]
    return bytes(data)


@pytest.mark.parametrize("mask", [False, True])
@settings(max_examples=150, deadline=None)
@given(data=st.one_of(damaged(), st.binary(max_size=200)))
def test_what_passes_the_check_is_what_anomalib_reads(tmp_path_factory, mask, data):
    path = (
        tmp_path_factory.getbasetemp() / f"{zlib.crc32(data)}.png"
    )  # a file that changes within a tick is not seen to
    path.write_bytes(data)
    found = read_file(str(path), mask=mask)
    if found.problem is None:
        height, width = (read_mask if mask else read_image)(path, as_tensor=True).shape[-2:]
        assert found.size == (width, height)
    else:
        assert found.problem.startswith(("is ", "has "))


@settings(max_examples=50, deadline=None)
@example(names=["../../etc", "/root/.ssh", "..", "a\\..\\b"])
@given(names=st.lists(st.text(st.characters(max_codepoint=999), max_size=12), min_size=4, max_size=4))
def test_no_name_of_a_model_or_category_leads_out_of_the_results(names):
    results = Path("/results/table.csv")
    row = {**dict(zip(("model", "dataset", "category", "seed"), names, strict=True)), "job": "", "schedule": ""}
    for path in (results.parent / f"{file_stem(*names)}.ckpt", path_of(results, row)):
        assert Path(os.path.normpath(path)) == path
        assert path.is_relative_to("/results")
        assert path.name.isascii()
        assert path.name.isprintable()


MODELS = {plugin.name: plugin.load() for plugin in PLUGINS if plugin.kind == "model"}
LIVE = {"pre_processor", "post_processor", "evaluator", "visualizer"}
WRONG = [None, -1, 0, 2**31, 1e9, -0.5, float("nan"), float("inf"), "x", "", [], [1, 2], ["a"], {}, {"x": 1}]


@pytest.fixture(scope="module")
def parser():
    """anomalib's parser of models, made once."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(AnomalibModule, "model", required=False, fail_untyped=False)
    return parser


@st.composite
def wrong_options(draw):
    """A model, one of its options or none of them, and a value of any kind."""
    name = draw(st.sampled_from(sorted(MODELS)))
    options = [option for option in inspect.signature(MODELS[name]).parameters if option not in LIVE]
    return name, draw(st.sampled_from([*options, "no_such_option"])), draw(st.sampled_from(WRONG))


def refusal(parser, name, options):
    """What a model is refused with, if it is."""
    try:
        config = parser.parse_object({"model": {"class_path": name, "init_args": options}})
        with torch.device("meta"):  # no weights are drawn
            MODELS[name](**config.model.init_args.as_dict())
    except (ArgumentError, ValueError, TypeError, OSError) as error:
        return error
    return None


@settings(max_examples=30, deadline=None)
@example(given_=("SbmPfamCfa", "seed", -1))
@example(given_=("SbmPfamCfa", "backbone", None))
@example(given_=("Slsg", "pretrain", None))
@given(given_=wrong_options())
def test_any_option_of_a_model_is_taken_or_refused_in_words(parser, given_):
    name, option, value = given_
    local = {"pre_trained": False} if "pre_trained" in inspect.signature(MODELS[name]).parameters else {}
    error = refusal(parser, name, {**local, option: value})
    if isinstance(error, ArgumentError):
        assert option in str(error)
    elif error is not None:
        raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
        assert "anomalib_plugins" in raised_in, f"{given_}: {error}"
        assert str(error)
