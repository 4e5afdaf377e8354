# SPDX-License-Identifier: Apache-2.0

"""Hosts as they would say they are."""

from __future__ import annotations

from typing import Any

from nova_recovery.procedures.uid.facts import Facts, Host, Seen, Share
from nova_recovery.procedures.uid.procedure import Service

HOME = '/var/lib/nova-recovery'


def host(
    name: str,
    uid: dict[str, int] | None = None,
    gid: dict[str, int] | None = None,
    uses: dict[tuple[str, int], list[tuple[str, str]]] | None = None,
    **more: Any,
) -> Host:
    """One host of Debian; the accounts' own uses are added.

    :param uses: (kind, number) -> [(kind of use, who)]
    """
    uids = {'nova': 108, 'libvirt-qemu': 64055} | (uid or {})
    gids = {'nova': 120, 'libvirt': 121, 'kvm': 104} | (gid or {})
    said: dict[str, dict[int, list[dict[str, str]]]] = {
        kind: {number: [] for number in range(90, 140)}
        for kind in ('uid', 'gid')
    }
    own = [(('uid', n), ('passwd', name)) for name, n in uids.items()]
    own += [(('gid', n), ('group', name)) for name, n in gids.items()]
    own += [(key, use) for key, some in (uses or {}).items() for use in some]
    for (kind, number), (what, who) in own:
        said[kind].setdefault(number, []).append({'kind': what, 'who': who})
    return Host(
        name,
        machine_id=f'id-of-{name}',
        users={
            n: {'uid': number, 'source': 'passwd', 'shared_with': []}
            for n, number in uids.items()
        },
        groups={
            n: {'gid': number, 'source': 'group', 'shared_with': []}
            for n, number in gids.items()
        },
        uses=said,
        **{
            'running': {
                'nova': ('nova-compute.service',),
                'libvirt': ('libvirtd.service',),
            },
            **more,
        },
    )


def share(*names: str, path: str = '/srv', squashed: str = '') -> Share:
    """A directory that these hosts have in common."""
    return Share(
        tuple(
            Seen(
                name, path, 'nfs4', 'filer:/srv', True, True, name == squashed
            )
            for name in names
        )
    )


def facts(*hosts: Host, shares: tuple[Share, ...] = ()) -> Facts:
    return Facts(hosts, shares)


def claimable(*names: str) -> dict[str, Service]:
    """The nova-compute of each, which nobody has claimed."""
    seen = {'disabled': 0, 'disabled_reason': None, 'forced_down': 0}
    return {
        name: Service(name, 'cell1', number, seen)
        for number, name in enumerate(names, 1)
    }
