"""Layers with hand-written gradients: the functional form in lower case, the module under torch.nn's name.

Constructors, parameter names and state dicts are torch.nn's: in a model, `torch.nn` may be replaced by
`deeprob.layers`.
"""

from .attention import scaled_dot_product_attention as scaled_dot_product_attention
from .batch_norm import BatchNorm1d as BatchNorm1d
from .batch_norm import BatchNorm2d as BatchNorm2d
from .batch_norm import batch_norm as batch_norm
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
from .hinge import MultiMarginLoss as MultiMarginLoss
from .hinge import multi_margin_loss as multi_margin_loss
from .linear import Linear as Linear
from .linear import linear as linear
from .matmul import matmul as matmul
from .pool import AdaptiveAvgPool2d as AdaptiveAvgPool2d
from .pool import AvgPool2d as AvgPool2d
from .pool import MaxPool2d as MaxPool2d
from .pool import adaptive_avg_pool2d as adaptive_avg_pool2d
from .pool import avg_pool2d as avg_pool2d
from .pool import max_pool2d as max_pool2d
from .relu import ReLU as ReLU
from .relu import relu as relu
