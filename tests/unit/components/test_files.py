# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0


import pytest

from anomalib_plugins.components.files import atomic_write


def test_a_file_is_there_once_it_is_whole_and_not_before(tmp_path):
    path = tmp_path / "new folder" / "file.txt"
    with atomic_write(path, "w", encoding="utf-8") as file:
        file.write("café")
        assert not path.exists()
    assert path.read_text(encoding="utf-8") == "café"


def test_an_error_leaves_the_file_of_before_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with pytest.raises(TypeError, match="bytes-like"), atomic_write(path) as file:
        file.writelines([b"half", "of another kind"])
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("file", b"before")]
