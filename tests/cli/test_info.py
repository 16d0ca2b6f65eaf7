"""`deeprob info` as a user types it."""

import pickle

import cv2
import numpy as np
import pytest

from deeprob.cli import main
from deeprob.config import options

LARGE = ("vit_tiny", "vit_small")
INPUTS = {"pointnet": "[64,3]", "pointnet_parts": "[64,3]", "pose_dense": "[3,128,128]"}
NO_NETWORKS = {"knn", "hog_svm", "own"}
SMALL = ["model=resnet_small", "model.width=4", "input=[3,8,8]", "batch_size=2"]


def test_a_network_is_told_by_block_and_in_all(capsys):
    assert main(["info", *SMALL, "depth=1"]) == 0
    shown = capsys.readouterr().out
    assert "layer3" in shown
    assert "layer3.0" not in shown
    for line in (
        "5,214 parameters",
        "MFLOP a sample forward",
        "saved for backward by a batch of 2",
        "the peak",
    ):
        assert line in shown


def test_depth_opens_the_blocks(capsys):
    assert main(["info", *SMALL, "depth=3"]) == 0
    assert "layer3.0.conv2" in capsys.readouterr().out


def test_the_optimiser_counts(capsys):
    for optimizer, copies in (("sgd", 1), ("adamw", 2)):
        main(["info", *SMALL, "model.width=64", f"optim={optimizer}"])
        peak = capsys.readouterr().out.splitlines()[-1]
        weights, state = (float(peak.split(f"{name} ")[1].split(",")[0]) for name in ("weights", "optimiser"))
        assert state == pytest.approx(copies * weights, rel=0.05)


def test_frozen_weights_are_told(capsys):
    assert main(["info", *SMALL, "model.freeze=[layer*]"]) == 0
    assert "of them frozen" in capsys.readouterr().out


@pytest.mark.parametrize("model", ["mlp", "vit"])
def test_a_network_of_a_fixed_image_size_takes_that_of_the_input(model, capsys):
    assert main(["info", f"model={model}", "input=[3,16,16]", "batch_size=2"]) == 0


@pytest.mark.parametrize("model", ["alexnet", "vit"])
def test_a_network_has_as_many_channels_as_the_input(model, capsys):
    assert main(["info", f"model={model}", "input=[5,32,32]", "batch_size=2"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("model", sorted(set(options("model")) - NO_NETWORKS))
def test_every_network_can_be_asked(model, capsys):
    shape = INPUTS.get(model, "[3,224,224]" if model in LARGE else "[3,32,32]")
    assert main(["info", f"model={model}", f"input={shape}", "batch_size=4"]) == 0
    assert "parameters" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["batch_size=0"], "batch_size=0 num_classes=10"),
        (["input=[3,8,0]"], "input=[3, 8, 0]; expected numbers of at least 1"),
        (["precision=half"], "precision=half; expected 32-true"),
        (["model.freeze=[layer9*]"], "no parameter matches"),
        (["input=[4,8,8]", "model.in_channels=3"], "the model refuses an input (2, 4, 8, 8)"),
        (["model.stem=tiny"], "expected small or imagenet"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(arguments, said, capsys):
    assert main(["info", *SMALL, *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_clouds_are_drawn_once_each(tmp_path, capsys):
    for number, name in enumerate(("ball", "stick")):
        points = np.random.default_rng(number).normal(size=(200, 3)) * (0.05, 0.05, 0.05 + 0.1 * number)
        np.save(tmp_path / f"{name}.npy", points)
    (tmp_path / "broken.xyz").write_text("1 2\n")
    sheet = tmp_path / "sheet.png"
    assert (
        main(["info", "data=points", f"data.root={tmp_path}", f"sheet={sheet}"]) == 1
    )  # something is bad, and told
    assert "broken.xyz" in capsys.readouterr().out
    image = cv2.imread(str(sheet))
    assert image.shape == (14 + 240, 4 * 240, 3)
    drawn = [(image[14:, i * 240 : (i + 1) * 240] < 240).any(axis=2).sum() for i in range(2)]
    assert min(drawn) > 200
    assert not image[:, 2 * 240 :].any()


def test_a_sheet_of_bad_clouds_alone_is_not_drawn(tmp_path, capsys):
    (tmp_path / "broken.xyz").write_text("1 2\n")
    assert main(["info", "data=points", f"data.root={tmp_path}", "sheet=sheet.png"]) == 1
    assert "sheet  not written: no sample can be shown" in capsys.readouterr().out
    assert not (tmp_path / "sheet.png").exists()


def test_all_that_is_bad_is_listed_whatever_the_source_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    content = {"data": np.zeros((2, 32, 32, 3), np.uint8), "labels": [8, 8]}
    for stem in ("mug_1", "mug_2", "mug_3", "mug_4"):
        (tmp_path / f"{stem}.pkl").write_bytes(pickle.dumps(content, protocol=2))
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps({"test_split": ["mug_4"]}))
    (tmp_path / "mug_1.pkl").write_bytes(b"noise")
    (tmp_path / "mug_2.pkl").write_bytes(b"")
    assert main(["info", "data=props_classification", f"data.root={tmp_path}"]) == 1
    shown = capsys.readouterr().out
    assert "mug_1.pkl: broken pickle" in shown
    assert "mug_2.pkl: empty file" in shown
    assert any("bad frames" in line and "2" in line for line in shown.splitlines())


def test_brackets_in_a_name_are_no_markup(tmp_path, capsys):
    for split in ("train", "val"):
        for name in ("[x]", "[red]cup", "cup"):
            folder = tmp_path / "[b]set" / split / name
            folder.mkdir(parents=True)
            cv2.imwrite(str(folder / "a.png"), np.zeros((8, 8, 3), np.uint8))
    sheet = tmp_path / "[b]set" / "sheet.png"
    assert main(["info", "data=folder", f"data.root={tmp_path / '[b]set'}", f"sheet={sheet}"]) == 0
    shown = capsys.readouterr().out
    assert "[x] " in shown
    assert "[red]cup" in shown
    assert str(sheet) in shown.replace("\n", "")
