"""What each number means, where it comes from, and which way is better: the tables link here."""

from __future__ import annotations

from deeprob.page.definitions_of_frames import OF_FRAMES, Definition

DEFINITIONS: dict[str, Definition] = {
    **OF_FRAMES,
    "top1_accuracy": Definition(
        "Top-1 accuracy",
        "Share of samples whose most probable class is their label.",
        higher_is_better=True,
    ),
    "top5_accuracy": Definition(
        "Top-5 accuracy",
        "Share of samples whose label is among the five most probable classes.",
        higher_is_better=True,
    ),
    "balanced_accuracy": Definition(
        "Balanced accuracy",
        "Mean over the classes that occur of their recall, so that a rare class counts as much as a frequent "
        "one.",
        "Brodersen et al., The balanced accuracy and its posterior distribution, ICPR 2010",
        higher_is_better=True,
    ),
    "macro_f1": Definition(
        "Macro F1",
        "Mean over the classes that occur or are predicted of F1, the harmonic mean of precision and recall.",
        "Van Rijsbergen, Information Retrieval, 1979",
        higher_is_better=True,
    ),
    "expected_calibration_error": Definition(
        "Expected calibration error",
        "Mean distance between confidence and accuracy over 15 bins of confidence, weighted by their "
        "samples. 0 means that of the answers given with 80 % confidence, 80 % are right.",
        "Guo et al., On calibration of modern neural networks, ICML 2017",
        higher_is_better=False,
    ),
    "probe_accuracy": Definition(
        "Linear probe",
        "Share of samples whose class a softmax regression on the frozen features says; it is fitted on the "
        "labelled training samples.",
        "Chen et al., A simple framework for contrastive learning of visual representations, ICML 2020",
        higher_is_better=True,
    ),
    "knn_accuracy": Definition(
        "k-NN on features",
        "Share of samples whose class the 20 training samples with the nearest features (by cosine) vote "
        "for.",
        "Wu et al., Unsupervised feature learning via non-parametric instance discrimination, CVPR 2018",
        higher_is_better=True,
    ),
    "neighbour_agreement": Definition(
        "Neighbour agreement",
        "Share of samples whose nearest sample of another recording, by the cosine of their features, has "
        "the same class. It needs no training split.",
        higher_is_better=True,
    ),
    "pixels": Definition("the pixels", "The same on the pixels of the images.", higher_is_better=None),
    "random_init": Definition(
        "random weights",
        "The same on the features of this network with random weights.",
        higher_is_better=None,
    ),
    "precision": Definition(
        "Precision",
        "Of the samples predicted as this class, the share that belongs to it.",
        higher_is_better=True,
    ),
    "recall": Definition(
        "Recall", "Of the samples of this class, the share predicted as it.", higher_is_better=True
    ),
    "f1": Definition("F1", "Harmonic mean of precision and recall: 2 P R / (P + R).", higher_is_better=True),
    "instance_miou": Definition(
        "mIoU over shapes",
        "IoU of a part is the points that are it and are said to be it, over those that are either. The mean "
        "over the parts of a shape's category, a part that is neither there nor predicted counting 1; then "
        "the mean over shapes.",
        "Yi et al., A scalable active framework for region annotation in 3D shape collections, SIGGRAPH Asia "
        "2016; Qi et al., PointNet, CVPR 2017",
        higher_is_better=True,
    ),
    "category_miou": Definition(
        "mIoU over categories",
        "The same, averaged within each category first, so that a rare one counts as much as a frequent one.",
        higher_is_better=True,
    ),
    "point_accuracy": Definition(
        "Point accuracy", "Share of points whose most probable part is theirs.", higher_is_better=True
    ),
    "iou": Definition(
        "IoU",
        "Intersection over union: of a part, over the points of all shapes together; of a category, the mean "
        "over its shapes of the mean over its parts.",
        higher_is_better=True,
    ),
    "ci95": Definition(
        "95 % interval",
        "Of a hundred test sets drawn like this one, about 95 would give an interval that holds the true "
        "value. Bias-corrected accelerated bootstrap (bias-corrected alone for what ranks all samples anew); "
        "whole independent units (frames, scenes) are drawn, because samples of one unit resemble each "
        "other. Where every unit is right, or every one wrong, the exact binomial bound; none for an average "
        "precision or an area under a curve that no resample changes. With very many classes the areas of "
        "each have theirs in closed form, which the page then says.",
        "Efron, Better bootstrap confidence intervals, JASA 82, 1987",
    ),
    "n": Definition("n", "Number of samples behind the number."),
    "difference": Definition(
        "Difference",
        "Model minus baseline on the same samples, its interval by resampling both together.",
    ),
    "p_value": Definition(
        "p-value",
        "Chance of a difference at least as large if the two did equally well, found by exchanging their "
        "answers in random halves of the units; corrected for the number of comparisons in its table by "
        "Holm's method.",
        "Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statistics 6, 1979",
    ),
    "std": Definition("Standard deviation", "Spread of the metric between seeds, with n - 1 in the divisor."),
    "over_seeds": Definition(
        "Difference over seeds",
        "Variant minus base, the mean over runs paired by seed and tested on the same samples. The "
        "interval, as that of a mean, adds what varies between seeds (Student's distribution, wide for two "
        "or three seeds) and what varies between test units (bootstrap).",
        "Howe, Approximate confidence limits on the mean of X + Y, JASA 69, 1974",
    ),
    "p_value_over_seeds": Definition(
        "p (Holm)",
        "Smallest level at which the interval leaves 0 out, corrected for the number of rows by Holm's "
        "method.",
        "Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statistics 6, 1979",
    ),
    "effects": Definition(
        "Effect",
        "Change of the metric when a factor goes from the experiment's own value to this one, averaged "
        "over all settings of the other factors. An interaction (a × b) is what both together change "
        "beyond the sum of each alone.",
        "Box, Hunter and Hunter, Statistics for Experimenters, 2nd ed. 2005, chapter 5",
    ),
    "robustness": Definition(
        "Robustness",
        "The headline metric on the same samples after corrupting their images: noise, blur, darker or "
        "brighter light, a grey patch, JPEG compression, in five severities. The mean is over all "
        "corruptions and severities.",
        "After Hendrycks and Dietterich, Benchmarking neural network robustness, ICLR 2019",
        higher_is_better=True,
    ),
    "roc_auc": Definition(
        "ROC AUC",
        "Chance that a sample of the class gets a higher probability of it than one of another class; a tie "
        "counts half.",
        "Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 27, 2006",
        higher_is_better=True,
    ),
    "average_precision": Definition(
        "Average precision",
        "Precision averaged over the recall of the class, samples ordered by their probability of it.",
        "Zhu, Recall, precision and average precision, University of Waterloo, 2004",
        higher_is_better=True,
    ),
    "slices": Definition(
        "Error slices",
        "The metric on parts of the test set. Quantities are cut into quarters of what is counted; slices "
        "of fewer than 10 are left out, and of many classes or recordings the worst are shown. Of so many "
        "slices the worst is partly chance.",
    ),
    "other_data": Definition(
        "Other data",
        "The same model and checkpoint on another data set of its classes, seen through the run's own view.",
    ),
    "leakage": Definition(
        "Leakage between splits",
        "Whether a recording or scene has samples in two splits, and whether two samples of different splits "
        "are equal pixel by pixel (by SHA-256). Nearly equal images are not found.",
    ),
    "sweep_value": Definition(
        "Value of a trial",
        "The validation metric at the epoch that the experiment is judged by (its best or its last); with "
        "folds, the mean over the parts of the training set held out in turn.",
    ),
    "importance": Definition(
        "Importance",
        "How far the values of a key among the best quarter of trials differ from those among all, as a "
        "share of the sum over keys.",
        "Watanabe, Bansal and Hutter, PED-ANOVA, IJCAI 2023",
    ),
    "pruned": Definition(
        "Pruned",
        "Ended early, because at the same epoch the trial was worse than most before it.",
        "Golovin et al., Google Vizier: a service for black-box optimization, KDD 2017, section 3.1",
    ),
    "majority": Definition(
        "Majority class", "A baseline that always answers the most frequent training class."
    ),
    "knn": Definition(
        "k-nearest neighbours",
        "A baseline that asks the k most similar training images, by Euclidean distance between raw "
        "pixels, and takes their vote.",
        "Cover and Hart, Nearest neighbor pattern classification, IEEE Trans. Information Theory 13, 1967",
    ),
    "linear": Definition(
        "Softmax regression",
        "A baseline that is linear in the standardised pixels, fitted to the training set with an L2 "
        "penalty.",
    ),
    "parameters": Definition(
        "Parameters", "Numbers in the model's weights, frozen ones too.", higher_is_better=False
    ),
    "flops_per_sample": Definition(
        "FLOPs per sample",
        "Floating-point operations of one forward pass over one sample; a multiply-add counts as two.",
        higher_is_better=False,
    ),
    "train_seconds": Definition(
        "Training time", "Seconds spent in training, interruptions left out.", higher_is_better=False
    ),
    "samples_per_second": Definition(
        "Training speed", "Samples trained on per second, validation included.", higher_is_better=True
    ),
    "peak_memory_bytes": Definition(
        "Peak memory",
        "Largest memory of the training process: on a GPU what its allocator held, otherwise resident "
        "memory.",
        higher_is_better=False,
    ),
}


def title(name: str) -> str:
    """How a table calls `name`; the name itself, with spaces, where nothing is defined."""
    return DEFINITIONS[name].title if name in DEFINITIONS else name.replace("_", " ")


SLICE_TITLES = {
    "class": "class",
    "group": "recording or scene",
    "box_pixels": "shorter side of the box, pixels",
    "distance_m": "distance, metres",
    "visible_fraction": "visible fraction",
    "object_pixels": "size of the object, square root of its pixels",
    "border_pixels": "distance of the box to the border, pixels",
    "objects_in_image": "objects in the image",
    "neighbour_iou": "largest IoU with another object",
}
"""What a kind of slice is called on a page."""
