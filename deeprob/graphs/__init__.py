"""Computational graphs to look at: values forward, gradients backward, gate by gate.

x, y, z = inputs("x y z")
graph = Graph((x + y) * z)
graph.forward(x=-2, y=5, z=-4)      # -12
graph.backward()                    # {"x": -4, "y": -4, "z": 3}
"""

from deeprob.graphs.expression import parse as parse
from deeprob.graphs.expression import parse_values as parse_values
from deeprob.graphs.flat import flat_code as flat_code
from deeprob.graphs.gates import GATES as GATES
from deeprob.graphs.gates import Gate as Gate
from deeprob.graphs.graph import Graph as Graph
from deeprob.graphs.modes import jvp as jvp
from deeprob.graphs.modes import vjp as vjp
from deeprob.graphs.node import Node as Node
from deeprob.graphs.node import exp as exp
from deeprob.graphs.node import hinge_loss as hinge_loss
from deeprob.graphs.node import inputs as inputs
from deeprob.graphs.node import l2 as l2
from deeprob.graphs.node import log as log
from deeprob.graphs.node import maximum as maximum
from deeprob.graphs.node import reciprocal as reciprocal
from deeprob.graphs.node import relu as relu
from deeprob.graphs.node import sigmoid as sigmoid
from deeprob.graphs.node import softmax_loss as softmax_loss
from deeprob.graphs.node import tanh as tanh
