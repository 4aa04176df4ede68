"""Features of every body in every universe: the pass that makes them, and the file that keeps them."""

from shiftlab.responses.features.running import feature_universes, run_bodies
from shiftlab.responses.features.store import FEATURES, Features, first_order_of, layers_of

__all__ = ["FEATURES", "Features", "feature_universes", "first_order_of", "layers_of", "run_bodies"]
