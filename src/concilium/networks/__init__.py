"""Image encoders with a linear head. One file, one network; its name is its name in a study."""

from concilium.networks._weights import LoadedWeights, load_weights

__all__ = ["LoadedWeights", "load_weights"]
