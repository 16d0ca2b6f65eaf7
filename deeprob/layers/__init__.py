"""Layers with hand-written gradients: the functional form in lower case, the module under torch.nn's name.

Constructors, parameter names and state dicts are torch.nn's: in a model, `torch.nn` may be replaced by
`deeprob.layers`.
"""

from .attention import scaled_dot_product_attention as scaled_dot_product_attention
from .batch_norm import BatchNorm1d as BatchNorm1d
from .batch_norm import BatchNorm2d as BatchNorm2d
from .batch_norm import batch_norm as batch_norm
from .binary_losses import BCEWithLogitsLoss as BCEWithLogitsLoss
from .binary_losses import SigmoidFocalLoss as SigmoidFocalLoss
from .binary_losses import binary_cross_entropy_with_logits as binary_cross_entropy_with_logits
from .binary_losses import sigmoid_focal_loss as sigmoid_focal_loss
from .conv import Conv1d as Conv1d
from .conv import Conv2d as Conv2d
from .conv import conv1d as conv1d
from .conv import conv2d as conv2d
from .conv_transpose import ConvTranspose2d as ConvTranspose2d
from .conv_transpose import conv_transpose2d as conv_transpose2d
from .cross_entropy import CrossEntropyLoss as CrossEntropyLoss
from .cross_entropy import cross_entropy as cross_entropy
from .dropout import Dropout as Dropout
from .dropout import dropout as dropout
from .embedding import Embedding as Embedding
from .embedding import embedding as embedding
from .gates import Sigmoid as Sigmoid
from .gates import Tanh as Tanh
from .gates import add as add
from .gates import copy as copy
from .gates import exp as exp
from .gates import log as log
from .gates import maximum as maximum
from .gates import mul as mul
from .gates import reciprocal as reciprocal
from .gates import sigmoid as sigmoid
from .gates import tanh as tanh
from .giou import GeneralizedBoxIoULoss as GeneralizedBoxIoULoss
from .giou import generalized_box_iou_loss as generalized_box_iou_loss
from .hinge import MultiMarginLoss as MultiMarginLoss
from .hinge import multi_margin_loss as multi_margin_loss
from .l2_regularizer import l2_regularizer as l2_regularizer
from .linear import Linear as Linear
from .linear import linear as linear
from .matmul import matmul as matmul
from .nt_xent import NTXentLoss as NTXentLoss
from .nt_xent import nt_xent_loss as nt_xent_loss
from .pool import AdaptiveAvgPool2d as AdaptiveAvgPool2d
from .pool import AvgPool2d as AvgPool2d
from .pool import MaxPool2d as MaxPool2d
from .pool import adaptive_avg_pool2d as adaptive_avg_pool2d
from .pool import avg_pool2d as avg_pool2d
from .pool import max_pool2d as max_pool2d
from .pose_losses import add_loss as add_loss
from .pose_losses import add_s_loss as add_s_loss
from .regression_losses import MSELoss as MSELoss
from .regression_losses import SmoothL1Loss as SmoothL1Loss
from .regression_losses import mse_loss as mse_loss
from .regression_losses import smooth_l1_loss as smooth_l1_loss
from .relu import ReLU as ReLU
from .relu import relu as relu
from .rotation import quaternion_to_matrix as quaternion_to_matrix
from .rotation import rotation_6d_to_matrix as rotation_6d_to_matrix
from .vicreg import vicreg_covariance as vicreg_covariance
from .vicreg import vicreg_variance as vicreg_variance
