"""Layers with hand-written gradients: the functional form in lower case, the module under torch.nn's name.

Constructors, parameter names and state dicts are torch.nn's: in a model, `torch.nn` may be replaced by
`deeprob.layers`.
"""

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
from .linear import Linear as Linear
from .linear import linear as linear
from .matmul import matmul as matmul
from .relu import ReLU as ReLU
from .relu import relu as relu
