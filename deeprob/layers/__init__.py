"""Layers with hand-written gradients: the functional form in lower case, the module under torch.nn's name.

Constructors, parameter names and state dicts are torch.nn's: in a model, `torch.nn` may be replaced by
`deeprob.layers`.
"""

# dense
from .linear import Linear as Linear
from .linear import linear as linear

# activation
from .relu import ReLU as ReLU
from .relu import relu as relu
