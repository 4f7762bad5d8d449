# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest

from anomalib_plugins.benchmark.config import category_of, jobs_of, refuse_unknown
from anomalib_plugins.benchmark.jobs import Job
from anomalib_plugins.benchmark.setup import Setup


def data(**arguments):
    return {"class_path": "MVTecAD", "init_args": {"root": "r", "category": "nut", **arguments}}


def jobs(model, data, seed=0, **options):
    return jobs_of({"seed": seed, "model": model, "data": data}, Setup(), **options)


def test_jobs_come_seed_by_seed_and_category_by_category():
    made = jobs({"class_path": {"grid": ["B", "A"]}}, data(category={"grid": ["y", "x"]}), {"grid": [2, 1]})
    assert [(job.seed, job.category, job.label) for job in made] == [
        (seed, category, model) for seed in (2, 1) for category in "yx" for model in "BA"
    ]


def of(name, **arguments):
    return {"class_path": name, "init_args": arguments}


@pytest.mark.parametrize(
    ("model", "labels"),
    [
        ({"grid": [of("A", net={"k": k}, b=1, seed=k) for k in (1, 2)] + [of("m.B", k=3)]}, ["A k=1", "A k=2", "B"]),
        ({"grid": [{"class_path": "A"}, of("A", k=1)]}, ["A", "A k=1"]),
        (of("A", weights={"grid": ["/home/me/a.pt", "/home/me/b.pt"]}), ["A weights=a.pt", "A weights=b.pt"]),
        ({**of("A", k={"grid": [1, 2]}), "label": "mine"}, ["mine", "mine"]),
    ],
    ids=["what differs within a class", "what one has", "no folders", "a label instead"],
)
def test_names_tell_jobs_apart(model, labels):
    assert [job.label for job in jobs(model, data())] == labels


def test_wrapped_data_sets_are_named_from_the_outside_in():
    for argument in ("k", "seed"):
        few = {"class_path": "FewShot", "init_args": {argument: {"grid": [2, 4]}, "datamodule": data()}}
        names = [(job.dataset, job.category) for job in jobs({"class_path": "A"}, few)]
        assert names == [(f"FewShot MVTecAD {argument}={value}", "nut") for value in (2, 4)]


@pytest.mark.parametrize(
    ("config", "category"),
    [
        ({"class_path": "MVTecAD"}, "bottle"),  # anomalib's default
        ({"class_path": "Folder", "init_args": {"name": "parts"}}, "parts"),
        ({"class_path": "anomalib_plugins.data.DemoParts"}, "DemoParts"),
        ({"class_path": "BTech", "init_args": {"category": "01"}}, "01"),
    ],
)
def test_the_category_is_found_wherever_it_is_said(config, category):
    assert category_of(config) == category


def test_titles_say_what_runs_and_nothing_twice():
    assert jobs({"class_path": "A"}, data())[0].title == "A MVTecAD nut, seed 0"
    assert jobs({"class_path": "A"}, {"class_path": "DemoParts"})[0].title == "A DemoParts, seed 0"


def test_only_models_that_take_a_seed_get_the_chosen_one():
    made = jobs({"class_path": {"grid": ["Slsg", "Padim"]}}, data(), seeds=[5])
    assert [job.model.get("init_args", {}) for job in made] == [{"seed": 5}, {}]
    unchosen = {"class_path": "Slsg", "init_args": {"seed": 1}}
    assert [job.model for job in jobs(unchosen, data(), seed=2)] == [unchosen]


def test_jobs_are_the_same_wherever_data_lie_and_however_they_are_read():
    for make in (data, lambda **of: {"class_path": "FewShot", "init_args": {"datamodule": data(**of)}}):
        here, there = make(num_workers=0), make(root="/x/r", num_workers=8)
        (first,), (second,) = jobs({"class_path": "A"}, here), jobs({"class_path": "A"}, there)
        assert first.number == second.number


@pytest.mark.parametrize("change", [{"train_batch_size": 4}, {"category": "bolt"}, {"root": "other"}])
def test_jobs_on_other_data_are_other_jobs(change):
    assert jobs({"class_path": "A"}, data())[0].number != jobs({"class_path": "A"}, data(**change))[0].number


def test_jobs_with_another_setup_are_other_jobs_but_not_those_with_another_number_of_threads():
    numbers = [
        Job("A", "D", "c", 0, {"class_path": "A"}, data(), setup).number
        for setup in (Setup(), Setup(threads=2), Setup(image_size=64), Setup(precision="bf16-mixed"), Setup("cuda"))
    ]
    assert [number == numbers[0] for number in numbers] == [True, True, False, False, False]


@pytest.mark.parametrize("section", [{}, {"seed": 0, "model": {}}, {"seed": 0, "model": {}, "data": {}, "trainer": {}}])
def test_parts_that_miss_or_that_nothing_reads_are_refused(section):
    with pytest.raises(ValueError, match=r"needs the keys \['data', 'model', 'seed'\], got"):
        jobs_of(section, Setup())


@pytest.mark.parametrize("model", [{"name": "A"}, {"grid": [{"class_path": "A"}, {"init_args": {}}]}])
def test_models_without_a_class_are_refused(model):
    with pytest.raises(ValueError, match="'model' of a benchmark needs a class_path, got"):
        jobs(model, data())


def test_names_that_anomalib_does_not_know_are_refused_with_the_nearest_one():
    with pytest.raises(ValueError, match="knows no 'Slgs'; did you mean 'Slsg'"):
        refuse_unknown(jobs({"class_path": "Slgs"}, data()))
    with pytest.raises(ValueError, match="knows no 'MVTecADD'; did you mean 'MVTecAD'"):
        refuse_unknown(jobs({"class_path": "Slsg"}, {"class_path": "MVTecADD"}))
    refuse_unknown(jobs({"class_path": "a.module.of.mine.Slgs"}, data()))
