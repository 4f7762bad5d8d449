# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import json
import subprocess
import sys
import types
from importlib import metadata

import pytest
import torch
from PIL import Image

from anomalib_plugins.commands import doctor
from anomalib_plugins.commands.doctor import Check
from anomalib_plugins.components import weights


@pytest.fixture
def probe_says(monkeypatch):
    def says(returncode=0, stderr="", **found):
        found = {"missing": {}, "errors": {}, "hooked": True, **found}
        done = types.SimpleNamespace(returncode=returncode, stdout=f"noise\n{json.dumps(found)}\n", stderr=stderr)
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)

    return says


def broken(checks):
    return [check for check in checks if check.state == "broken"]


def uninstall(monkeypatch, package):
    def version(name):
        if name == package:
            raise metadata.PackageNotFoundError
        return {"lightning": "2.6.6"}.get(name, "2.7.0")

    monkeypatch.setattr(metadata, "version", version)


def test_what_is_installed_here_meets_the_requirements():
    assert not broken(doctor.versions())


def test_wrong_version_is_broken_and_says_what_to_install(monkeypatch):
    found = {"anomalib": "2.6.1", "lightning": "2.6.6"}
    monkeypatch.setattr(metadata, "version", lambda name: found.get(name, "9.9"))
    (check,) = broken(doctor.versions())
    assert (check.subject, check.remedy) == ("anomalib", "pip install 'anomalib<2.8,>=2.7'")
    assert "2.6.1" in check.detail


@pytest.mark.parametrize("package", ["timm", "anomalib_plugins"])
def test_missing_package_is_broken(monkeypatch, package):
    uninstall(monkeypatch, package)
    assert [(check.subject, check.remedy) for check in broken(doctor.versions())] == [
        (package, f"pip install {package}")
    ]


def test_missing_optional_package_is_not_broken(monkeypatch):
    monkeypatch.setattr(metadata, "packages_distributions", dict)
    checks = list(doctor.versions())
    assert not broken(checks)
    assert Check("none", "faiss", "not installed", "if wanted: pip install 'anomalib_plugins[faiss]'") in checks


def test_plugins_that_anomalib_finds_are_fine(probe_says):
    probe_says()
    assert {check.state for check in doctor.plugins()} == {"ok"}


@pytest.mark.parametrize(
    ("hooked", "autoload", "remedy"),
    [
        (True, "1", "broken import above"),
        (False, "1", "the start-up hook did not run"),
        (False, "0", "unset TORCH_DEVICE_BACKEND_AUTOLOAD"),
    ],
)
def test_a_plugin_that_is_not_found_says_what_to_do(probe_says, monkeypatch, hooked, autoload, remedy):
    monkeypatch.setenv("TORCH_DEVICE_BACKEND_AUTOLOAD", autoload)
    probe_says(missing={"Slsg": "get_model does not know it"}, hooked=hooked)
    (check,) = broken(doctor.plugins())
    assert (check.subject, check.detail) == ("Slsg", "get_model does not know it")
    assert remedy in check.remedy


def test_import_errors_are_told(probe_says):
    probe_says(errors={"a.b:C": "No module named 'x'"})
    (check,) = broken(doctor.plugins())
    assert (check.subject, check.detail) == ("a.b:C", "No module named 'x'")
    probe_says(returncode=1, stderr="Traceback\nRuntimeError: operator torchvision::nms does not exist\n")
    (check,) = broken(doctor.plugins())
    assert "torchvision::nms" in check.detail


def test_weights_are_found_where_torch_and_hugging_face_keep_them(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    check = next(doctor.weights())
    assert (check.state, check.subject) == ("ok", "weights of tf_efficientnet_lite0")
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    assert [check.state for check in doctor.weights()] == ["none", "none"]
    file = tmp_path / "torch" / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    folder = tmp_path / "hf" / "hub" / "models--timm--resnet18.tv_in1k"
    file.parent.mkdir(parents=True)
    file.touch()
    folder.mkdir(parents=True)
    assert {check.detail for check in doctor.weights() if check.state == "ok"} == {str(file), str(folder)}


def test_texture_folder_is_counted_or_broken(tmp_path):
    assert doctor.textures(tmp_path / "none").state == "broken"
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert doctor.textures(tmp_path).detail == f"1 image in {tmp_path}"


def test_devices_are_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "A GPU")
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert list(doctor.devices()) == [Check("ok", "cuda:0", "A GPU")]


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("none", 0), ("broken", 1)])
def test_only_what_is_broken_is_shown_and_is_the_exit_code(monkeypatch, capsys, state, code):
    monkeypatch.setattr(doctor, "checks", lambda _: [Check(state, "thing", "as found", "do this")])
    assert doctor.main([]) == code
    assert ("-> do this" in capsys.readouterr().out) == bool(code)
    assert doctor.main(["--all"]) == code
    assert "-> do this" in capsys.readouterr().out
