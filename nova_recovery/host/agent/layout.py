# SPDX-License-Identifier: Apache-2.0

"""How nova-compute was installed: names, paths and numbers that follow.

Detected by what lies where, shown, and overridden by ``--set KEY=VALUE``.
"""

import os
import shlex
from typing import Any, Dict, List, Sequence, Tuple

from nova_recovery.host.agent import programs
from nova_recovery.host.agent.lines import Refused

_UNITS = (
    '/etc/systemd/system',
    '/run/systemd/system',
    '/usr/local/lib/systemd/system',
    '/usr/lib/systemd/system',
    '/lib/systemd/system',
)
#: Not virtlogd and virtlockd, which guests hold on to; they run as root.
_LIBVIRT = ['libvirtd*'] + [
    'virt{}d*'.format(name)
    for name in (
        'interface',
        'network',
        'nodedev',
        'nwfilter',
        'proxy',
        'qemu',
        'secret',
        'storage',
    )
]
#: What the packages of RHEL and its kin are built with (setup's uidgid).
_RHEL = {
    'user nova': 162,
    'group nova': 162,
    'user qemu': 107,
    'group qemu': 107,
    'group kvm': 36,
}
_DEBIAN = {'user libvirt-qemu': 64055, 'group libvirt-qemu': 64055}
#: kolla/common/users.py: the same in the images as on the disks of the host.
_KOLLA = {
    'user nova': 42436,
    'group nova': 42436,
    'user qemu': 42427,
    'group qemu': 42427,
    'group libvirt': 42473,
}
_KEYS = {
    'layout': str,
    'nova_units': list,
    'libvirt_units': list,
    'containers': list,
    'engine': str,
    'exec_prefix': list,
    'libvirt_uri': str,
    'nova_conf': list,
    'state': str,
    'instances': str,
}


def _plain(**more: Any) -> Dict[str, Any]:
    made = {
        'layout': 'custom',
        'nova_units': ['nova-*', 'openstack-nova-*'],
        'libvirt_units': _LIBVIRT,
        'containers': [],
        'engine': '',
        'exec_prefix': [],
        'libvirt_uri': 'qemu:///system',
        'nova_conf': [
            '/etc/nova/nova.conf',
            '/etc/nova/nova.conf.d',
            '/etc/nova/nova-compute.conf',
        ],
        'state': '/var/lib/nova',
        'instances': '/var/lib/nova/instances',
        'numbers': {},
    }  # type: Dict[str, Any]
    made.update(more)
    return made


def _package() -> Dict[str, Any]:
    rhel = os.path.exists('/etc/redhat-release')
    return _plain(layout='package', numbers=_RHEL if rhel else _DEBIAN)


def _kolla() -> Dict[str, Any]:
    engine = 'docker' if programs.find('docker') else 'podman'
    volumes = {
        'docker': '/var/lib/docker/volumes',
        'podman': '/var/lib/containers/storage/volumes',
    }[engine]
    # kolla-ansible names the volume of /var/lib/nova after the service,
    # unless nova_instance_datadir_volume is a path
    state = '{}/nova_compute/_data'.format(volumes)
    return _plain(
        layout='kolla',
        nova_units=['kolla-nova_compute*', 'kolla-nova_ssh*'],
        libvirt_units=['kolla-nova_libvirt*'],
        containers=['nova_compute', 'nova_ssh', 'nova_libvirt'],
        engine=engine,
        exec_prefix=[engine, 'exec', 'nova_libvirt'],
        nova_conf=['/etc/kolla/nova-compute/nova.conf'],
        state=state if os.path.isdir(state) else '/var/lib/nova',
        instances=(state if os.path.isdir(state) else '/var/lib/nova')
        + '/instances',
        numbers=_KOLLA,
    )


def _tripleo() -> Dict[str, Any]:
    generated = '/var/lib/config-data/puppet-generated/nova_libvirt/etc/nova'
    return _plain(
        layout='tripleo',
        nova_units=['tripleo_nova_compute*', 'tripleo_nova_migration*'],
        libvirt_units=['tripleo_nova_libvirt*', 'tripleo_nova_virt[!l]*'],
        engine='podman',
        exec_prefix=['podman', 'exec', 'nova_virtqemud'],
        nova_conf=[generated + '/nova.conf'],
        numbers=dict(
            _KOLLA, **{'user qemu': 107, 'group qemu': 107, 'group kvm': 36}
        ),
    )


def _edpm() -> Dict[str, Any]:
    return _plain(
        layout='edpm',
        nova_units=['edpm_nova*'],
        engine='podman',
        # libvirt is the host's own there
        nova_conf=['/var/lib/openstack/config/nova'],
        numbers=dict(
            _KOLLA, **{'user qemu': 107, 'group qemu': 107, 'group kvm': 36}
        ),
    )


_MADE = {
    'package': _package,
    'kolla': _kolla,
    'tripleo': _tripleo,
    'edpm': _edpm,
    'custom': _plain,
}


def _unit(*names: str) -> bool:
    return any(
        os.path.exists(os.path.join(folder, name + '.service'))
        for folder in _UNITS
        for name in names
    )


def _evidence() -> List[str]:
    """The layouts that something on this host speaks for."""
    found = []
    if _unit('edpm_nova_compute') or os.path.isdir(
        '/var/lib/openstack/config/nova'
    ):
        found.append('edpm')
    if _unit('tripleo_nova_compute') or os.path.isdir(
        '/var/lib/config-data/puppet-generated/nova_libvirt'
    ):
        found.append('tripleo')
    if os.path.isdir('/etc/kolla/nova-compute'):
        found.append('kolla')
    if _unit('nova-compute', 'openstack-nova-compute'):
        found.append('package')
    return found


def detect(overrides: Sequence[str] = ()) -> Dict[str, Any]:
    """The layout of this host.

    :param overrides: ``KEY=VALUE``, where VALUE is one word or, for a list,
        several as a shell would divide them; ``number.user nova=162`` for a
        fixed number
    :returns: ``layout`` (package, kolla, tripleo, edpm or custom),
        ``evidence`` (all that fit), ``overridden`` (keys), and what follows:
        ``nova_units`` and ``libvirt_units`` (patterns of unit names without
        ending), ``containers``, ``engine``, ``exec_prefix`` (words that lead
        into the container with virsh), ``libvirt_uri``, ``nova_conf`` (files
        and directories), ``state``, ``instances`` (paths), ``numbers``
        (``user NAME`` and ``group NAME`` -> what the distribution fixed)
    :raises Refused: an override makes no sense
    """
    wanted = [_override(text) for text in overrides]
    evidence = _evidence()
    name = dict(wanted).get('layout')
    if name is None:
        name = evidence[0] if len(evidence) == 1 else 'custom'
    if name not in _MADE:
        raise Refused(
            'layout={}: one of {}'.format(name, ', '.join(sorted(_MADE)))
        )
    found = _MADE[name]()
    found['numbers'] = dict(found['numbers'])
    for key, value in wanted:
        if key.startswith('number.'):
            found['numbers'][key[len('number.') :]] = value
        else:
            found[key] = value
    found['evidence'] = evidence
    found['overridden'] = sorted(key for key, _value in wanted)
    return found


def _override(text: str) -> Tuple[str, Any]:
    key, equals, value = text.partition('=')
    if equals and key in _KEYS:
        return key, shlex.split(value) if _KEYS[key] is list else value
    number = key.startswith(('number.user ', 'number.group '))
    if equals and number and value.isdigit():
        return key, int(value)
    raise Refused(
        '--set {}: KEY=VALUE with one of the keys {} and '
        '"number.user NAME", "number.group NAME"'.format(
            text, ', '.join(sorted(_KEYS))
        )
    )
