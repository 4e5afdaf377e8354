# SPDX-License-Identifier: Apache-2.0

"""Whose the resource providers of placement are.

A server's allocation may lie on several: what is a device of its own (a
virtual GPU, a PCI device, guaranteed bandwidth) is a child of the node's
provider, and belongs to that node. A node that was made anew under its old
name has another provider, and the old one keeps what it had.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
from typing import TYPE_CHECKING

from nova_recovery.cloud.db import services
from nova_recovery.cloud.db.databases import divide
from nova_recovery.exceptions import RecoveryError

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud


@dataclasses.dataclass(frozen=True)
class Provider:
    """Whose a resource provider is.

    :ivar name: of the root of its tree, which nova-compute names after the
        hypervisor
    :ivar host: whose live compute node that root is; None: nobody's
    """

    name: str
    host: str | None


class Providers:
    """Whose each resource provider is, read once for many servers.

    A provider of a cell that doesn't answer is nobody's.

    :param cloud: placement and the cells are asked at once
    :ivar unreachable: why placement could not be asked, '' where it was
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._providers: Mapping[str, tuple[str, str]] = {}
        self._hosts: dict[str, str] = {}
        self.unreachable = ''
        try:
            self._providers = cloud.placement.providers()
        except RecoveryError as error:
            self.unreachable = str(error)
            return
        nodes, _ = divide(cloud.databases.each_cell(services.compute_nodes))
        for some in nodes.values():
            for node in some:
                if node.uuid and node.host:
                    self._hosts[node.uuid] = node.host

    def of(self, providers: Iterable[str]) -> dict[str, Provider]:
        """Root provider -> whose it is, for these and their trees."""
        found = {}
        for provider in providers:
            root, name = self._providers.get(provider, (provider, provider))
            found[root] = Provider(name, self._hosts.get(root))
        return found

    def held(self, uuids: Sequence[str]) -> dict[str, dict[str, Provider]]:
        """What placement has allocated to servers, by server.

        One question for each server, or for each provider where those are
        fewer: ten thousand servers are on a few hundred hosts.

        :raises ApiUnavailable: placement does not answer
        """
        placement = self._cloud.placement
        by_server: dict[str, set[str]] = {uuid: set() for uuid in uuids}
        if len(uuids) <= len(self._providers):
            for uuid in uuids:
                by_server[uuid] |= set(
                    placement.allocations(uuid)['allocations']
                )
        else:
            for provider in self._providers:
                for consumer in placement.consumers(provider):
                    if consumer in by_server:
                        by_server[consumer].add(provider)
        return {uuid: self.of(some) for uuid, some in by_server.items()}
