# SPDX-License-Identifier: Apache-2.0

"""Whose the resource providers of placement are.

A server's allocation may lie on several: what is a device of its own (a
virtual GPU, a PCI device, guaranteed bandwidth) is a child of the node's
provider, and belongs to that node. A node that was made anew under its old
name has another provider, and the old one keeps what it had.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent import futures
import dataclasses
from typing import TYPE_CHECKING

from nova_recovery.cloud.db import services
from nova_recovery.cloud.db.databases import divide
from nova_recovery.compat import pairs
from nova_recovery.exceptions import RecoveryError

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

#: Questions to placement side by side.
READERS = 8


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
        roots = {
            self._providers.get(provider, (provider, ''))[0]
            for provider in providers
        }
        return {
            root: Provider(
                self._providers.get(root, (root, root))[1],
                self._hosts.get(root),
            )
            for root in roots
        }

    def devices(
        self, allocations: Mapping[str, Mapping[str, int]]
    ) -> tuple[str, ...]:
        """What is held below a node, in words: ``VGPU 1 on np-rcc4_gpu0``.

        :param allocations: provider -> resource class -> amount
        """
        return tuple(
            f'{resource} {amount} on {self._providers[provider][1]}'
            for provider, held in sorted(allocations.items())
            if self._providers.get(provider, (provider, ''))[0] != provider
            for resource, amount in sorted(held.items())
        )

    def held(self, uuids: Sequence[str]) -> dict[str, dict[str, Provider]]:
        """What placement has allocated to servers, by server.

        One question for each server, or for each provider where those are
        fewer: ten thousand servers are on a few hundred hosts.

        :raises ApiUnavailable: placement does not answer
        """
        placement = self._cloud.placement
        by_server: dict[str, set[str]] = {uuid: set() for uuid in uuids}
        with futures.ThreadPoolExecutor(READERS) as pool:
            if len(uuids) <= len(self._providers):
                for uuid, held in pairs(
                    uuids, pool.map(placement.allocations, uuids)
                ):
                    by_server[uuid] |= set(held['allocations'])
            else:
                for provider, consumers in pairs(
                    self._providers,
                    pool.map(placement.consumers, self._providers),
                ):
                    for consumer in consumers:
                        if consumer in by_server:
                            by_server[consumer].add(provider)
        return {uuid: self.of(some) for uuid, some in by_server.items()}
