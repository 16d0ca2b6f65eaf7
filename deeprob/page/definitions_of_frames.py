"""Definitions of the numbers of poses, detection and segmentation, beside those that every task shares."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Definition:
    """title: how a table calls it; text: what it says; higher_is_better: None where neither way is."""

    title: str
    text: str
    source: str = ""
    higher_is_better: bool | None = None


_BOP = "Hodan et al., BOP challenge 2020 on 6D object localization, ECCV workshops 2020, section 2.2"
_ADD = "Hinterstoisser et al., Model based training, detection and pose estimation, ACCV 2012"
_COCO = "Lin et al., Microsoft COCO, ECCV 2014; computed by pycocotools"
_SIZE = (
    "Mean AP of objects {} pixels large: the annotation's area, or the mask's pixels where it says none, or "
    "the box's. Detections outside of that range which find no object of it do not count."
)

POSE = {
    "bop_average_recall": Definition(
        "BOP average recall",
        "Mean of the average recalls of VSD, MSSD and MSPD.",
        _BOP,
        higher_is_better=True,
    ),
    "average_recall_vsd": Definition(
        "Average recall, VSD",
        "Share of instances found, averaged over thresholds from 0.05 to 0.5 and tolerances of 5 % to 50 % "
        "of the diameter; in images with depth. VSD is a share of the pixels where the object is visible in "
        "either pose: of those where it is in one pose alone, or its distances from the camera are farther "
        "apart than the tolerance.",
        _BOP,
        higher_is_better=True,
    ),
    "average_recall_mssd": Definition(
        "Average recall, MSSD",
        "Share of instances found, averaged over thresholds from 5 % to 50 % of the diameter. MSSD is the "
        "largest distance of a model point from its true place, the least over the object's symmetries.",
        _BOP,
        higher_is_better=True,
    ),
    "average_recall_mspd": Definition(
        "Average recall, MSPD",
        "The same of MSPD, the largest distance in the image, over thresholds from 5 to 50 pixels of an "
        "image 640 pixels wide.",
        _BOP,
        higher_is_better=True,
    ),
    "add_auc": Definition(
        "ADD AUC",
        "Area under recall over the threshold, 0 to 10 cm, of the mean distance of model points from their "
        "true places; an instance without an estimate is never found. Symmetries are not looked at: for an "
        "object that has some see ADD(-S).",
        "Xiang et al., PoseCNN, RSS 2018",
        higher_is_better=True,
    ),
    "add_s_auc": Definition(
        "ADD-S AUC",
        "The same, each true point compared with the nearest estimated one.",
        "Xiang et al., PoseCNN, RSS 2018",
        higher_is_better=True,
    ),
    "add_or_add_s_auc": Definition(
        "ADD(-S) AUC",
        "The same, by ADD-S for objects with a symmetry, by ADD for the rest.",
        "Xiang et al., PoseCNN, RSS 2018",
        higher_is_better=True,
    ),
    "add_or_add_s_recall": Definition(
        "ADD(-S) recall",
        "Share of instances whose ADD(-S) is below 10 % of the object's diameter.",
        _ADD,
        higher_is_better=True,
    ),
    "recall_5deg_5cm": Definition(
        "5°, 5 cm",
        "Share of instances with a rotation error, the least over the object's symmetries, below 5 degrees "
        "and a translation error below 5 cm.",
        "Shotton et al., Scene coordinate regression forests, CVPR 2013",
        higher_is_better=True,
    ),
    "detected": Definition(
        "With an estimate", "Share of instances that got an estimate, however wrong.", higher_is_better=True
    ),
    "rotation_error_deg": Definition(
        "Rotation error, degrees",
        "Mean angle between true and estimated rotation, the least over the object's symmetries, of the "
        "instances with an estimate.",
        higher_is_better=False,
    ),
    "translation_error_cm": Definition(
        "Translation error, cm",
        "Mean distance between true and estimated origin, of the instances with an estimate.",
        higher_is_better=False,
    ),
    "median_rotation_error_deg": Definition(
        "Median rotation error, degrees",
        "The rotation error that half of the instances with an estimate stay below; from counts in bins of "
        "half a degree up to 10 degrees, 2 up to 30, 10 beyond.",
        higher_is_better=False,
    ),
    "median_translation_error_cm": Definition(
        "Median translation error, cm",
        "The translation error that half of the instances with an estimate stay below; from counts in bins "
        "of 1 mm up to 2 cm, 1 cm up to 10 cm, 5 cm beyond.",
        higher_is_better=False,
    ),
}

DETECTION = {
    "mean_ap": Definition(
        "mAP",
        "Average precision over 101 recalls, the mean over classes and over IoU thresholds 0.50, 0.55 to "
        "0.95.",
        _COCO,
        higher_is_better=True,
    ),
    "ap50": Definition("AP50", "Mean average precision at an IoU of 0.5.", _COCO, higher_is_better=True),
    "ap75": Definition("AP75", "Mean average precision at an IoU of 0.75.", _COCO, higher_is_better=True),
    "ap_small": Definition("AP, small", _SIZE.format("up to 32²"), _COCO, higher_is_better=True),
    "ap_medium": Definition("AP, medium", _SIZE.format("from 32² to 96²"), _COCO, higher_is_better=True),
    "ap_large": Definition("AP, large", _SIZE.format("from 96²"), _COCO, higher_is_better=True),
    "average_recall": Definition(
        "Average recall",
        "Recall with at most 100 detections of a class in an image, the mean over classes and over IoU "
        "thresholds.",
        _COCO,
        higher_is_better=True,
    ),
    "class_ap": Definition(
        "AP", "Average precision of the class, the mean over IoU thresholds.", _COCO, higher_is_better=True
    ),
    "class_ap50": Definition(
        "AP50", "Average precision of the class at an IoU of 0.5.", _COCO, higher_is_better=True
    ),
}

_TIDE = "Bolya et al., TIDE: a general toolbox for identifying object detection errors, ECCV 2020"
_RIGHT = "A detection is right where it finds an object of its class at an IoU of 0.5. "

DETECTION_ERRORS = {
    "ap50_cost": Definition(
        "AP50 gained",
        "AP50 once this kind of error alone is put right, minus AP50 as it is. A wrong class or place is "
        "corrected, of several detections that mean one object the highest-scoring alone; a detection of any "
        "other kind is taken away; a missed object is not asked for.",
        _TIDE,
    ),
    "error_classification": Definition(
        "Classification", "The detection has an IoU of 0.5 or more with an object of another class.", _TIDE
    ),
    "error_localisation": Definition(
        "Localisation", "The detection has an IoU from 0.1 to 0.5 with an object of its class.", _TIDE
    ),
    "error_both": Definition(
        "Both", "The detection has an IoU from 0.1 to 0.5 with an object of another class only.", _TIDE
    ),
    "error_duplicate": Definition(
        "Duplicate", "The detection is on an object of its class that a surer one has found.", _TIDE
    ),
    "error_background": Definition(
        "Background", "The detection has an IoU of at most 0.1 with any object.", _TIDE
    ),
    "error_missed": Definition(
        "Missed",
        "An object that no detection finds, and that no error of classification or localisation means. At "
        "the best F1: every object that is not found with at least that score.",
        _TIDE,
    ),
    "at_best_f1": Definition("At the best F1", "Those with at least the score of the best F1."),
}

OPERATING = {
    "best_f1": Definition(
        "Best F1", "The score at which F1 is largest, all classes together or the class alone."
    ),
    "recall_90": Definition(
        "Recall of 0.9", "The highest score at which 90 % of the objects are found, where there is one."
    ),
    "recall_at_best_f1": Definition(
        "Recall at best F1",
        "Share of objects found at an IoU of 0.5 by detections with at least the score of the best F1 of all "
        "classes together. The score is the same in every slice and resample.",
        higher_is_better=True,
    ),
    "box_precision": Definition(
        "Precision", _RIGHT + "Share of detections that are right.", higher_is_better=True
    ),
    "box_recall": Definition("Recall", "Share of objects that are found.", higher_is_better=True),
    "box_f1": Definition("F1", "Harmonic mean of precision and recall.", higher_is_better=True),
    "false_positives_per_image": Definition(
        "False positives an image", "Detections that find no object, over the images.", higher_is_better=False
    ),
    "detection_calibration_error": Definition(
        "Expected calibration error of detections",
        _RIGHT + "Mean distance between score and share of right ones over 15 bins of the score, weighted by "
        "their detections, of every detection given.",
        "Kueppers et al., Multivariate confidence calibration for object detection, CVPR workshops 2020",
        higher_is_better=False,
    ),
}

SEGMENTATION = {
    "miou": Definition(
        "mIoU",
        "Mean of intersection over union over the classes that occur or are predicted, the background among "
        "them, pixels summed over all images.",
        "Everingham et al., The PASCAL visual object classes challenge, IJCV 2010",
        higher_is_better=True,
    ),
    "pixel_accuracy": Definition(
        "Pixel accuracy", "Share of labelled pixels with the right class.", higher_is_better=True
    ),
    "mean_class_accuracy": Definition(
        "Mean class accuracy",
        "Mean over the classes that occur of the share of their pixels with the right class.",
        higher_is_better=True,
    ),
    "boundary_f1": Definition(
        "Boundary F1",
        "F1 of boundary pixels within 0.75 % of the image's diagonal, or a pixel, of the other boundary: of "
        "each class the mean over the images that hold or predict it, then the mean over classes.",
        "Csurka et al., What is a good evaluation measure for semantic segmentation?, BMVC 2013",
        higher_is_better=True,
    ),
    "class_iou": Definition(
        "IoU", "Intersection over union of the class, pixels summed over all images.", higher_is_better=True
    ),
}

OF_FRAMES = {
    **POSE,
    **DETECTION,
    **DETECTION_ERRORS,
    **OPERATING,
    **SEGMENTATION,
    "random": Definition(
        "Labels of another image",
        "A baseline that looks at no image: the labels of another image, drawn at random; of a pose, that "
        "of the same object.",
    ),
}
