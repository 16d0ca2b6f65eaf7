"""Objectives: what a batch is trained for. An objective turns (task, model, batch) into a loss.

supervised.py     the task's own loss; cross_entropy and hinge for logits
views.py          two views of a sample are near, without labels: SimCLR, VICReg
rotation.py       which way is up, without labels
mae.py            patches that were left out, without labels
self_training.py  a model's own predictions as labels: pseudo-labels, FixMatch, mean teacher
label_spreading.py  labels of neighbours in the space of features
"""

from deeprob.training.objectives.base import Objective as Objective
from deeprob.training.objectives.label_spreading import LabelSpreading as LabelSpreading
from deeprob.training.objectives.mae import MaskedAutoencoder as MaskedAutoencoder
from deeprob.training.objectives.rotation import Rotation as Rotation
from deeprob.training.objectives.self_training import FixMatch as FixMatch
from deeprob.training.objectives.self_training import MeanTeacher as MeanTeacher
from deeprob.training.objectives.self_training import PseudoLabel as PseudoLabel
from deeprob.training.objectives.supervised import CrossEntropy as CrossEntropy
from deeprob.training.objectives.supervised import Hinge as Hinge
from deeprob.training.objectives.supervised import Supervised as Supervised
from deeprob.training.objectives.views import SimCLR as SimCLR
from deeprob.training.objectives.views import VICReg as VICReg
