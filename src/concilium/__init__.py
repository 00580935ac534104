"""concilium: federated multi-label classification of medical images.

Hospitals train one model together without showing each other an image. The one axiom:
everything that leaves a hospital adds up, so the server only ever needs the total.
"""

__version__ = "0.1.0"
