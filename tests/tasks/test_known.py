from deeprob.tasks.classification.task import Classification
from deeprob.tasks.detection.task import Detection
from deeprob.tasks.instance_segmentation.task import InstanceSegmentation
from deeprob.tasks.known import known_tasks


def test_every_folder_s_tasks_are_known_by_their_names():
    known = known_tasks()
    assert known["classification"] is Classification
    assert (known["detection"], known["instance_segmentation"]) == (Detection, InstanceSegmentation)
    assert all(kind.name == name for name, kind in known.items())
