# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The tables of faults and of promises in the documentation name what there is, and all of the faults."""

import ast
import re
from pathlib import Path

from .test_check import FAULTS

TESTS = Path(__file__).parents[1]
TABLE = (TESTS.parent / "docs/faults.md").read_text(encoding="utf-8")
PROMISES = (TESTS.parent / "SECURITY.md").read_text(encoding="utf-8")
TEST = r"`(test_\w+(?:\[[^]]*\])?)`"
NAMED = set(re.findall(TEST, TABLE))


def names_of_tests(folder):
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in folder.rglob("test_*.py")]
    names = {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    tables = [node for tree in trees for node in tree.body if isinstance(node, ast.Assign)]  # of refusals
    names |= {target.id for node in tables for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in names if name.startswith("test_")}


def test_every_test_of_the_table_exists():
    cases = {f"test_check_names[{name}]" for name in FAULTS}
    named = NAMED | set(re.findall(TEST, PROMISES))
    assert {name for name in named if "[" in name} <= cases
    assert {name.partition("[")[0] for name in named} <= names_of_tests(TESTS)


def test_every_fault_that_is_tested_is_in_the_table():
    ours = {name for name in names_of_tests(TESTS / "faults") if name not in globals()}
    cases = {f"test_check_names[{name}]" for name in FAULTS}
    assert (ours - {"test_check_names"}) | cases <= NAMED


def test_there_are_at_least_thirty():
    assert len(re.findall(r"^\| (?!fault|---)", TABLE, re.MULTILINE)) >= 30
