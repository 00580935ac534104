"""Commands to a SuperLink from its own machine: who its nodes are, and which runs there are."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from flwr.cli.build import build_fab_from_disk
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
)
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

from concilium.foundation.errors import FederationError


@dataclass(frozen=True)
class NodeState:
    """A registered node: its name, its public key, and "registered", "online" or "offline"."""

    name: str
    key: bytes
    status: str


@dataclass(frozen=True)
class RunState:
    """A run: "pending", "starting", "running" or "finished", then how, and what is said of it."""

    status: str
    outcome: str
    details: str

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.status == "finished"


@dataclass(frozen=True)
class Commands:
    """Commands to the SuperLink of an address, whose certificate ``authority`` (a file) signed.

    Each raises FederationError where the SuperLink is not there or refuses.
    """

    address: str
    authority: Path

    def register(self, name: str, key: bytes) -> None:
        """Let the holder of a public key take part; a key that may already is left as it is."""
        if any(node.key == key for node in self.nodes()):
            return
        with self._client() as client:
            client.RegisterNode(RegisterNodeRequest(public_key=key, name=name))

    def nodes(self) -> list[NodeState]:
        """All registered nodes."""
        with self._client() as client:
            found = client.ListNodes(ListNodesRequest()).nodes_info
        return [
            NodeState(node.name, node.public_key, node.status)
            for node in found
            if node.status != "unregistered"
        ]

    def start(self, bundle: Path, settings: Mapping[str, str | int | float]) -> int:
        """Start a run of the bundle in a folder with these settings; the run's number."""
        content = packed(bundle)
        fab = Fab(hashlib.sha256(content).hexdigest(), content, {})
        request = StartRunRequest(
            fab=fab_to_proto(fab), override_config=user_config_to_proto(dict(settings))
        )
        with self._client() as client:
            return int(client.StartRun(request).run_id)

    def run(self, number: int) -> RunState:
        """How a run stands."""
        with self._client() as client:
            found = client.ListRuns(ListRunsRequest(run_id=number)).run_dict[number].status
        return RunState(found.status, found.sub_status, found.details)

    def stop(self, number: int) -> None:
        """Stop a run."""
        with self._client() as client:
            client.StopRun(StopRunRequest(run_id=number))

    @contextmanager
    def _client(self) -> Iterator[ControlHttpClient]:
        client = ControlHttpClient.from_server_address(
            self.address,
            insecure=False,
            root_certificates=self.authority.read_bytes(),
            interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr CLI")],
        )
        try:
            yield client
        except httpx.HTTPStatusError as error:
            code = error.response.status_code
            raise FederationError(f"the SuperLink at {self.address} refuses: {code}") from None
        except httpx.HTTPError as error:
            raise FederationError(
                f"no SuperLink at {self.address} that {self.authority} vouches for: {error}"
            ) from None
        finally:
            client.close()


def packed(bundle: Path) -> bytes:
    """The bundle of a folder as Flower submits it."""
    with warnings.catch_warnings():
        # It reads its own patterns in a way that a library of its own advises against.
        warnings.simplefilter("ignore", DeprecationWarning)
        return build_fab_from_disk(bundle)
