"""What a network and a training cost: counted on known layers, timed, scaled."""

import pytest

from deeprob.config import compose
from deeprob.studies.card.compute import ComputeFacts, compute_facts, duration, network_facts, on_target
from deeprob.training.experiment import make_model, make_task
from deeprob.training.sources import make_data


@pytest.fixture
def made(squares_config):
    cfg = squares_config()
    data = make_data(cfg)
    return cfg, data, network_facts(cfg, data)


def test_parameters_and_layers_are_those_of_the_network(made):
    cfg, data, facts = made
    assert (
        facts.parameters
        == facts.trained
        == sum(p.numel() for p in make_model(cfg, make_task(cfg, data)).parameters())
    )
    assert facts.kind == "ResNet"
    assert {row[1] for row in facts.layers} >= {"Conv2d", "Linear"}
    assert all(len(row) == len(facts.header) for row in facts.layers)
    assert facts.drawing.startswith("<svg")
    assert facts.flops > 2 * facts.parameters


def test_a_training_is_predicted_from_its_steps(made):
    cfg, data, network = made
    facts = compute_facts(cfg, data, network, seconds=0.05)
    assert facts.timed_steps >= 1
    assert facts.steps == 3 * (72 // 16)
    assert facts.seconds == pytest.approx(facts.steps * facts.step_seconds)
    assert facts.checkpoint_bytes == 2 * (4 * network.parameters + 4 * network.parameters)  # SGD's momentum
    assert not list(data.cache_dir.parent.glob("**/*.ckpt"))


def test_another_machine_is_judged_by_what_is_stated_of_it():
    compute = ComputeFacts("cpu", 5, 0.1, 640.0, 10, 1000, 100.0, int(3e9), int(2e9))
    known = on_target({"memory_gb": 4, "disk_gb": 1, "speed": 0.5}, compute, int(1e9))
    assert known == {"time": "3 min", "memory_fits": True, "disk_fits": False}
    assert on_target({}, compute, None) == {"time": None, "memory_fits": None, "disk_fits": None}


@pytest.mark.parametrize(("seconds", "text"), [(12.3, "12 s"), (150, "2 min"), (9000, "2.5 h")])
def test_durations_have_a_unit_one_can_read(seconds, text):
    assert duration(seconds) == text


def test_a_model_without_gradient_has_no_steps_to_predict_from(squares_overrides):
    cfg = compose("train", ["model=knn", *(o for o in squares_overrides if not o.startswith("model."))])
    data = make_data(cfg)
    network = network_facts(cfg, data)
    assert network.kind == "KNNClassifier"
    assert network.layers == []
    assert compute_facts(cfg, data, network, seconds=0.05) is None
