"""What a config may hold: a dataclass for every group and for every leaf.

Hydra fills these dataclasses from the YAML files under configs/, so that a misspelt key or a wrong type is
refused before anything runs. A leaf (`_target_` and its arguments) has the parameters of the class that it
configures; a test holds the two together. Nothing heavy is imported here.
"""

from __future__ import annotations

import importlib

from deeprob.schema import classical, cluster, data, frame_models, models, roots, training

SCHEMA: dict[str, dict[str, type]] = {
    "root": {
        "train": roots.TrainConfig,
        "evaluate": roots.EvaluateConfig,
        "predict": roots.PredictConfig,
        "refine": roots.RefineConfig,
        "export": roots.ExportConfig,
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
        "representation": data.RepresentationViewSettings,
        "detection": data.DetectionViewSettings,
        "instances": data.InstanceViewSettings,
        "segmentation": data.SegmentationViewSettings,
        "pose": data.PoseViewSettings,
        "pose_frames": data.PoseFrameViewSettings,
        "points": data.PointsViewSettings,
        "parts": data.PartsViewSettings,
    },
    "augmentation": {
        "image": data.Augmentation,
        "detection": data.DetectionAugmentation,
        "window": data.WindowAugmentation,
        "points": data.PointAugmentation,
    },
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
        "label_maps": data.LabelMapSettings,
        "points": data.PointsSettings,
    },
    "model": {
        "resnet": models.ResNetSettings,
        "linear": classical.LinearSettings,
        "two_layer_net": classical.TwoLayerNetSettings,
        "knn": classical.KNNSettings,
        "hog_svm": classical.HOGSVMSettings,
        "mlp": models.MLPSettings,
        "alexnet": models.AlexNetSettings,
        "cnn": models.CNNSettings,
        "vit": models.ViTSettings,
        "pointnet": models.PointNetSettings,
        "fcos": frame_models.FCOSSettings,
        "faster_rcnn": frame_models.FasterRCNNSettings,
        "mask_rcnn": frame_models.MaskRCNNSettings,
        "pose_dense": frame_models.PoseDenseSettings,
        "posecnn": frame_models.PoseCNNSettings,
        "unet": frame_models.UNetSettings,
        "fpn_segmenter": frame_models.FPNSegmenterSettings,
        "atrous_segmenter": frame_models.AtrousSegmenterSettings,
    },
    "objective": {
        "supervised": training.SupervisedSettings,
        "cross_entropy": training.CrossEntropySettings,
        "hinge": training.HingeSettings,
        "label_maps": training.LabelMapLossSettings,
        "simclr": training.SimCLRSettings,
        "vicreg": training.VICRegSettings,
        "mae": training.MaskedAutoencoderSettings,
        "rotation": training.RotationSettings,
        "pseudo_label": training.PseudoLabelSettings,
        "fixmatch": training.FixMatchSettings,
        "mean_teacher": training.MeanTeacherSettings,
        "label_spreading": training.LabelSpreadingSettings,
    },
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
    for room in (data, models, frame_models, classical, training)
    for schema in vars(room).values()
    if isinstance(schema, type) and "_target_" in vars(schema)
}
"""Target -> the dataclass of its arguments."""


def schema_of(found: object) -> type | None:
    """The dataclass of a class's arguments, by whatever name the class was reached; None where it has none.

    A class is often reachable by several names: those of the package that offers it and of the module that
    defines it.
    """
    name = getattr(found, "__name__", "")
    for target, schema in LEAVES.items():
        module, _, last = target.rpartition(".")
        if last == name and getattr(importlib.import_module(module), last, None) is found:
            return schema
    return None


def arguments(schema: type) -> frozenset[str]:
    """The keys of a leaf that its target's constructor takes."""
    own = models.NETWORK_OPTIONS if issubclass(schema, models.NetworkSettings) else frozenset()
    return frozenset(schema.__dataclass_fields__) - own - {"_target_"}  # type: ignore[attr-defined]
