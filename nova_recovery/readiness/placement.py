# SPDX-License-Identifier: Apache-2.0

"""Placement has the inventory of each node, as nova has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import functools
from typing import Any

from nova_recovery import readiness
from nova_recovery.cloud.db import services
from nova_recovery.cloud.db.databases import divide
from nova_recovery.cloud.records import ComputeNode
from nova_recovery.engine.findings import Finding
from nova_recovery.exceptions import NotFound, RecoveryError
from nova_recovery.readiness import bounded, common, Site

LAYER = 'placement'
_PATIENCE = 9.0

#: What stands for vcpus: shared ones, and those that are pinned.
_CPUS = ('VCPU', 'PCPU')

_RESTART = 'systemctl restart placement-api  # or its web server'

Inventories = Mapping[str, Mapping[str, Any]]


class Probe:
    """See :class:`nova_recovery.readiness.Probe`."""

    needs: tuple[str, ...] = ('database/*', 'keystone/*')

    def rows(self, site: Site) -> Iterator[Finding]:
        answers, silent = divide(
            site.cloud.databases.each_cell(services.compute_nodes)
        )
        for error in silent.values():
            raise error
        nodes = [
            node
            for found in answers.values()
            for node in found
            if site.covers(node.host) and node.uuid
        ]
        placement = site.apis().placement
        try:
            # a dead API is one row, not one for each node
            placement.ping()
        except RecoveryError as error:
            yield Finding(
                LAYER,
                readiness.UNKNOWN,
                'placement API',
                bounded.words(error),
                'it answers',
                _RESTART,
            )
            return
        ours = site.cloud.reaches_hosts
        inventories = bounded.each(
            {
                str(node.uuid): functools.partial(
                    placement.inventories, str(node.uuid)
                )
                for node in nodes
            },
            _PATIENCE,
        )
        bad = [
            row
            for node in nodes
            for row in judge(node, inventories[str(node.uuid)], ours)
        ]
        yield from common.on_one_line(
            bad,
            Finding(
                LAYER,
                readiness.GO,
                'nodes',
                f'{len(nodes)} nodes have their inventory',
                'as compute_nodes has it',
            ),
        )


def judge(
    node: ComputeNode, found: Inventories | BaseException, ours: bool = False
) -> Iterator[Finding]:
    """What placement has of a node; nothing if that is right.

    :param ours: hosts are reached from here
    """
    name = node.hypervisor_hostname or node.host or str(node.uuid)
    remedy = common.restart(ours, node.host or name)
    state = readiness.NO_GO
    if isinstance(found, NotFound):
        observed = f'no resource provider {node.uuid}'
    elif isinstance(found, BaseException):
        state, observed = readiness.UNKNOWN, bounded.words(found)
        remedy = _RESTART
    else:
        wrong = differences(node, found)
        if not wrong:
            return
        observed = '; '.join(wrong)
    yield Finding(
        LAYER, state, name, observed, 'as compute_nodes has it', remedy
    )


def differences(node: ComputeNode, found: Inventories) -> list[str]:
    """What placement has otherwise than nova; [] where they agree."""
    if not found:
        return ['no inventory']
    if any(name.startswith('CUSTOM_') for name in found) and not any(
        name in found for name in _CPUS
    ):
        # a bare-metal node: only its own class
        return []
    wrong = []
    cpus = [found[name]['total'] for name in _CPUS if name in found]
    if node.vcpus is not None and sum(cpus) != node.vcpus:
        wrong.append(f'{sum(cpus)} CPUs, compute_nodes has {node.vcpus}')
    memory = found.get('MEMORY_MB', {}).get('total')
    if node.memory_mb is not None and memory != node.memory_mb:
        wrong.append(f'MEMORY_MB {memory}, compute_nodes has {node.memory_mb}')
    return wrong
