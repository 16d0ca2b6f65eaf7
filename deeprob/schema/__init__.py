"""What a config may hold: a dataclass for every group and for every leaf.

Hydra fills these dataclasses from the YAML files under configs/, so that a misspelt key or a wrong type is
refused before anything runs. A leaf (`_target_` and its arguments) has the parameters of the class that it
configures; a test holds the two together. Nothing heavy is imported here.
"""

from __future__ import annotations

from deeprob.schema import classical, cluster, data, models, roots, training

SCHEMA: dict[str, dict[str, type]] = {
    "root": {
        "train": roots.TrainConfig,
        "evaluate": roots.EvaluateConfig,
        "report": roots.ReportConfig,
        "ablate": roots.AblateConfig,
        "sweep": roots.SweepConfig,
        "card": roots.CardConfig,
        "submit": cluster.SubmitConfig,
        "info": roots.InfoConfig,
        "graph": roots.GraphConfig,
    },
    "data": {"files": data.DataSettings, "pybullet": data.PyBulletData},
    "view": {
        "classification": data.ClassificationViewSettings,
        "detection": data.DetectionViewSettings,
        "segmentation": data.SegmentationViewSettings,
        "pose": data.PoseViewSettings,
        "points": data.PointsViewSettings,
        "parts": data.PartsViewSettings,
    },
    "augmentation": {"image": data.Augmentation, "points": data.PointAugmentation},
    "source": {
        "darknet": data.DarknetSettings,
        "props_classification": data.PropsClassificationSettings,
        "props_detection": data.PropsDetectionSettings,
        "props_pose": data.PropsPoseSettings,
        "bop": data.BopSettings,
        "coco": data.CocoSettings,
        "voc": data.VocSettings,
        "kitti": data.KittiSettings,
        "folder": data.FolderSettings,
        "points": data.PointsSettings,
    },
    "model": {
        "resnet": models.ResNetSettings,
        "linear": classical.LinearSettings,
        "two_layer_net": classical.TwoLayerNetSettings,
        "knn": classical.KNNSettings,
        "mlp": models.MLPSettings,
        "alexnet": models.AlexNetSettings,
        "cnn": models.CNNSettings,
        "vit": models.ViTSettings,
        "pointnet": models.PointNetSettings,
    },
    "objective": {"cross_entropy": training.CrossEntropySettings, "hinge": training.HingeSettings},
    "optimizer": {"sgd": training.SGDSettings, "adamw": training.AdamWSettings},
    "schedule": {
        "constant": training.ConstantSettings,
        "cosine": training.CosineSettings,
        "one_cycle": training.OneCycleSettings,
    },
    "callbacks": {"gradient_flow": training.GradientFlowSettings},
    "logger": {
        "csv": training.CSVLoggerSettings,
        "tensorboard": training.TensorBoardLoggerSettings,
        "wandb": training.WandbLoggerSettings,
    },
}
"""Group -> name -> dataclass; in YAML `/schema/<group>: <name>`."""

LEAVES: dict[str, type] = {
    vars(schema)["_target_"]: schema
    for room in (data, models, classical, training)
    for schema in vars(room).values()
    if isinstance(schema, type) and "_target_" in vars(schema)
}
"""Target -> the dataclass of its arguments."""


def arguments(schema: type) -> frozenset[str]:
    """The keys of a leaf that its target's constructor takes."""
    own = models.NETWORK_OPTIONS if issubclass(schema, models.NetworkSettings) else frozenset()
    return frozenset(schema.__dataclass_fields__) - own - {"_target_"}  # type: ignore[attr-defined]
