"""Flower as the engine between hospitals: everything that knows of it stands in this folder.

Letters are bytes that mean nothing here. ``keys`` and ``processes`` start the two sides with
encryption and authenticated nodes; ``grid`` is the coordinator's carrier; at a hospital
``executor`` passes each letter to ``client_app``, and this to the resident ``worker``.
"""
