"""The installed client app of a hospital."""

from concilium.flower.client_app import app

__all__ = ["app"]
