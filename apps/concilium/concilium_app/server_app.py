"""The installed server app of a coordinator."""

from concilium.flower.server_app import app

__all__ = ["app"]
