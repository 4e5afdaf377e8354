# SPDX-License-Identifier: Apache-2.0

"""Gates that several procedures have in common."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
import dataclasses
import shlex

from nova_recovery import program
from nova_recovery.engine.plan import Gate


@dataclasses.dataclass(frozen=True)
class Known:
    """A gate that there is.

    :ivar classes: ``hard``, ``soft``, ``advice``; where there are several it
        depends on what was seen
    :ivar asks: what has to be so, as a question
    :ivar moved: the run itself changes what it looks at, so that it tells
        nothing any more when the run goes on
    """

    name: str
    classes: tuple[str, ...]
    asks: str
    moved: bool = False


#: All gates of all procedures: the user guide lists each with how it is
#: answered, and a test compares.
GATES = (
    Known(
        'accounts-alone', ('hard',), 'Has each account its number for itself?'
    ),
    Known(
        'accounts-local',
        ('hard',),
        'Are the accounts those of the host itself?',
    ),
    Known(
        'adoptable',
        ('hard',),
        'Can the rows of the guest be brought to where it runs?',
    ),
    Known(
        'apis-reachable',
        ('hard',),
        'Do the APIs that are needed answer an administrator?',
    ),
    Known(
        'attachable',
        ('hard',),
        'Is attaching the right command for what is wrong?',
    ),
    Known(
        'back-end-told',
        ('soft',),
        'Shall an attachment go without the storage being told?',
    ),
    Known('back-end-up', ('hard',), 'Is cinder-volume of the volumes up?'),
    Known(
        'backup-service',
        ('hard',),
        'Is a cinder-backup up in the zone of the volumes?',
    ),
    Known(
        'canary-runs',
        ('hard',),
        'Does the server run, where it is to lose its power?',
    ),
    Known(
        'canary-sessions',
        ('hard',),
        'Has the server iSCSI sessions, and nobody else through them?',
    ),
    Known(
        'canary-sound',
        ('hard',),
        'Is nothing wrong with the volumes of the server before?',
    ),
    Known(
        'capacity',
        ('hard',),
        'Has placement room for all that goes to the target?',
    ),
    Known(
        'cell-alive', ('soft',), 'Are few of the computes of the cell silent?'
    ),
    Known('cell-known', ('advice',), 'Does the database of the cell answer?'),
    Known('cells-read', ('hard', 'soft'), 'Is it known what the cell has?'),
    Known(
        'cinder-answers',
        ('hard',),
        "Does cinder's API answer an administrator?",
    ),
    Known(
        'computes-alive',
        ('hard',),
        'Is each nova-compute up, before the site loses its power?',
    ),
    Known(
        'connector-known',
        ('hard',),
        'Is it known how the host connects to volumes?',
    ),
    Known(
        'console-address',
        ('soft',),
        'Has the host the address that the console shall listen on?',
    ),
    Known(
        'console-closed',
        ('soft',),
        'Does the console not listen on every interface?',
    ),
    Known(
        'console-known',
        ('hard',),
        'Is it known where the console listens, and shall listen?',
    ),
    Known(
        'database-not-older',
        ('hard', 'soft'),
        'Is no database older than the snapshot?',
    ),
    Known('detachable', ('hard',), 'Is what ties the two stale?'),
    Known(
        'dhcp-parameter',
        ('hard',),
        'Has a filter of the guest the DHCPSERVER that is set?',
    ),
    Known(
        'disk-nowhere-else',
        ('soft',),
        'Has no other host the disk that is connected?',
    ),
    Known(
        'disk-reachable',
        ('soft', 'hard'),
        'Does the target see the disk of the server?',
    ),
    Known(
        'dump-named',
        ('soft',),
        'Is there a dump of the databases from after the outage?',
    ),
    Known('evacuable', ('hard',), 'Does nova evacuate the server?'),
    Known(
        'filter-known',
        ('advice',),
        'Did nova make the filter that is missing?',
    ),
    Known(
        'filter-named',
        ('hard',),
        'Is what is named a filter of nova that the host needs?',
    ),
    Known(
        'filters-known', ('hard',), 'Does libvirt tell which filters it has?'
    ),
    Known(
        'filters-of-libvirt',
        ('hard',),
        'Do filters of libvirt filter the guests of the host?',
    ),
    Known(
        'guest-agrees',
        ('soft', 'advice'),
        'Is the guest what the row will say?',
    ),
    Known('guest-gone', ('hard',), 'Does it run no more where its row says?'),
    Known(
        'guest-not-at-home',
        ('hard', 'soft'),
        'Has nova the guest that is ended on another host?',
    ),
    Known(
        'guest-not-on-target',
        ('hard',),
        'Is the server not on the target already?',
    ),
    Known(
        'guest-of-nova',
        ('hard', 'soft'),
        'Did nova have the guest that is ended, or changed?',
    ),
    Known(
        'guest-off',
        ('hard', 'soft'),
        'Is the guest off that may have the volume connected?',
    ),
    Known(
        'guest-only-here', ('hard', 'soft'), 'Can the guest run nowhere else?'
    ),
    Known(
        'guest-only-there',
        ('hard',),
        'Can the guest run nowhere but where it is adopted?',
    ),
    Known('guest-runs', ('hard',), 'Is the server active, without a task?'),
    Known(
        'guest-runs-at-home',
        ('hard', 'soft'),
        'Does the guest run where nova has it?',
    ),
    Known(
        'guest-runs-there',
        ('hard',),
        'Does the guest run where it is to be ended?',
    ),
    Known(
        'guest-seen',
        ('soft',),
        'Did somebody see the guest run where it is adopted?',
    ),
    Known(
        'guest-there',
        ('hard',),
        'Has the host the guest, and keeps libvirt its XML?',
    ),
    Known('host-answers', ('hard',), 'Does each host say who it is?'),
    Known(
        'host-claimable',
        ('soft',),
        'Can the host be kept from getting servers?',
    ),
    Known('host-down', ('hard',), 'Is the host down whose queue is purged?'),
    Known('host-unclaimed', ('hard',), 'Does no other run work on the host?'),
    Known(
        'host-up', ('hard', 'soft'), 'Is the nova-compute of the server up?'
    ),
    Known(
        'hosts-off',
        ('soft',),
        'Is the host off whose volumes become available?',
    ),
    Known(
        'hosts-sound',
        ('soft',),
        'Is nothing on the hosts of the servers in the way of guests?',
    ),
    Known(
        'instance-mapped',
        ('hard',),
        "Does nova's API find the server in its cell?",
    ),
    Known(
        'journal-outside',
        ('soft',),
        'Does the journal keep its power when the site loses it?',
    ),
    Known(
        'keys-readable',
        ('soft', 'advice'),
        'Can the keys of encrypted volumes be read?',
    ),
    Known(
        'memory-kept', ('soft',), 'May the saved memory of the server be lost?'
    ),
    Known(
        'mode-known',
        ('hard',),
        'Does what a server could only read stay read-only?',
    ),
    Known('movable', ('hard',), 'Can the server be moved by hand?'),
    Known(
        'no-guest-runs',
        ('hard',),
        'Does no guest run as what gets another number?',
    ),
    Known(
        'no-migration',
        ('hard',),
        'Was no migration begun since the plan was made?',
    ),
    Known('no-task', ('soft',), 'Is nova not at the server?', moved=True),
    Known(
        'no-tombstone',
        ('hard', 'soft'),
        'Does a start of nova-compute destroy no guest?',
    ),
    Known('not-in-use', ('hard',), 'Are the volumes free?'),
    Known(
        'not-moved-now',
        ('soft',),
        'Does no run have the host of the server, or move it?',
    ),
    Known(
        'not-under-way',
        ('soft',),
        'Has cinder left the volume alone for a while?',
        moved=True,
    ),
    Known(
        'nothing-queued', ('soft',), 'Does no request wait for the dead host?'
    ),
    Known(
        'nothing-sets-back',
        ('soft',),
        'Does no file of the host give files the old number again?',
    ),
    Known(
        'number-lasts',
        ('advice',),
        'Is the number out of the range of passing services?',
    ),
    Known('numbers-free', ('hard',), 'Is each new number free on each host?'),
    Known(
        'numbers-unambiguous',
        ('hard',),
        'Does each old number mean one account in what is shared?',
    ),
    Known(
        'power-programs',
        ('hard',),
        'What takes the power of the site, and gives it back?',
    ),
    Known(
        'quota',
        ('soft',),
        'Has your project room for the backups?',
        moved=True,
    ),
    Known(
        'rebootable',
        ('hard',),
        'Does nova start or reboot a server in its state?',
    ),
    Known(
        'resettable',
        ('hard',),
        'Is a reset the right command for what is wrong?',
    ),
    Known(
        'resize-abandoned',
        ('soft', 'hard'),
        'Can nova not end the resize of the server itself?',
    ),
    Known(
        'root-is-root',
        ('hard',),
        'Is root trusted by the server of what is shared?',
    ),
    Known(
        'roots-there',
        ('hard',),
        'Can the walk begin at the directory that was given?',
    ),
    Known(
        'rules-own', ('hard',), "Is the chain that is restored nobody else's?"
    ),
    Known('rules-saved', ('hard',), 'Is it known how the chain was and is?'),
    Known(
        'rules-whole',
        ('hard',),
        'Is all there that the restored chain leads to?',
    ),
    Known('same-cell', ('hard',), 'Is the target in the cell of the server?'),
    Known(
        'schema-modern',
        ('hard',),
        'Are the databases as they are since Queens?',
    ),
    Known(
        'server-known', ('soft',), 'Does nova know what became of the server?'
    ),
    Known(
        'server-planned',
        ('soft',),
        'Does the plan do something for each server?',
        moved=True,
    ),
    Known(
        'server-takes-it',
        ('hard',),
        'Does nova attach to a server in its state?',
    ),
    Known(
        'servers-named',
        ('hard',),
        'Were all named that would lose their power?',
    ),
    Known(
        'session-there', ('hard',), 'Has the host a session of that number?'
    ),
    Known(
        'session-unneeded',
        ('hard', 'soft'),
        'Has no server a volume through the session?',
    ),
    Known(
        'session-unused',
        ('hard',),
        'Does nothing on the host use the disks of the session?',
    ),
    Known(
        'shares-known', ('hard',), 'Is it known which directories hosts share?'
    ),
    Known(
        'site-ready', ('hard',), 'Is the site ready to start servers again?'
    ),
    Known(
        'site-sound',
        ('soft',),
        'Is nothing wrong with the volumes of the site before?',
    ),
    Known('snapshot-given', ('advice',), 'Does a snapshot tell what was?'),
    Known(
        'snapshot-older',
        ('soft',),
        'Was the snapshot taken before the outage?',
    ),
    Known('snapshot-ours', ('soft',), 'Is the snapshot of this cloud?'),
    Known('snapshot-whole', ('soft',), 'Did the snapshot read everything?'),
    Known('source-fenced', ('soft', 'hard'), 'Is the dead host off?'),
    Known(
        'source-one-machine',
        ('hard',),
        'Do the servers of its nova-compute run on that one machine?',
    ),
    Known(
        'source-returned',
        ('advice',),
        'Is a host that was dead when the run began still dead?',
    ),
    Known(
        'source-same-machine',
        ('hard',),
        'Is the host the machine that is meant?',
    ),
    Known(
        'source-silent',
        ('hard',),
        'Does the nova-compute of the dead host report nothing?',
    ),
    Known(
        'source-unclaimed',
        ('soft',),
        'Does no other run work on the dead host?',
        # by an older copy of the journal it may be the run itself
        moved=True,
    ),
    Known('storage-up', ('advice',), 'Is cinder-volume up?'),
    Known(
        'target-offered',
        ('soft',),
        'Does the portal offer the target to the host?',
    ),
    Known('target-ready', ('hard',), 'Can the target take servers?'),
    Known('unclaimed', ('hard',), 'Does no other run work on the server?'),
    Known(
        'volume-state',
        ('hard',),
        'Is the volume that was named available or in use?',
    ),
    Known(
        'volumes-connectable',
        ('hard',),
        'Is the connector of the target known?',
    ),
    Known(
        'volumes-held',
        ('hard',),
        'Does cinder hold the volumes of the server?',
    ),
    Known(
        'volumes-known', ('hard',), 'Could the volumes be read on both sides?'
    ),
    Known(
        'volumes-named',
        ('soft',),
        'Does nova name an attachment of each volume?',
    ),
    Known(
        'volumes-there',
        ('hard',),
        'Are its volumes connected where it is adopted?',
    ),
    Known(
        'zone-and-group',
        ('soft',),
        'Do zone and server group allow the target?',
        moved=True,
    ),
)


def on_resume(gates: Iterable[Gate]) -> tuple[Gate, ...]:
    """Gates of what is left of a run: asked again as they are.

    Of those that look at what the run itself changes, a soft one is advice:
    a server that is half moved needs no other host any more. And whoever has
    to look where a guest runs leaves it out first: the run has its claim.
    """
    moved = {one.name for one in GATES if one.moved}
    return tuple(
        dataclasses.replace(gate, klass='advice')
        if gate.name in moved and gate.klass == 'soft' and gate.blocks
        else dataclasses.replace(gate, remedy=_left_out_first(gate))
        if gate.name == 'guest-only-here' and gate.blocks
        else gate
        for gate in gates
    )


def _left_out_first(gate: Gate) -> str:
    skip = shlex.quote(f'{gate.subject}=REASON')
    return (
        'leave it out of this run:\n'
        + program.call(f'run resume RUN --skip {skip}')
        + '\nor, where it may have been sent, end the run:\n'
        + program.call('run undo RUN')
        + f'\nThen {gate.remedy}'
    )


def ways_on(words: str) -> str:
    """What to do where another run has a claim, after these words."""
    return (
        f'{words}:\n{program.call("run resume RUN")}\n'
        'where its journal is lost with its controller:\n'
        + program.call('run abandon RUN --reason WHY')
    )


def nobody_else(
    uuid: str, name: str, holders: Mapping[str, str], movers: Mapping[str, str]
) -> Iterator[Gate]:
    """Those that refuse, for one server.

    :param holders: server uuid -> the marker of whoever claimed it
    :param movers: server uuid -> the marker of the run that has its host
    """
    if uuid in holders:
        yield Gate(
            'unclaimed',
            name,
            'hard',
            'refused',
            f'claimed: {holders[uuid]}',
            ways_on('go on with that run'),
        )
    if uuid in movers:
        yield Gate(
            'not-moved-now',
            name,
            'soft',
            'refused',
            f'its host is claimed: {movers[uuid]}',
            'that run may not have connected its volumes yet, and starts it '
            + ways_on('when it has; go on with it'),
        )


#: How encrypted volumes are connected by somebody else than their owner.
KEYS = 'make sure that your account may read its keys'


def keys_asked(volumes: Iterable[str], when: str) -> str:
    """What becomes of encrypted volumes.

    Barbican gives a key to its owner, not to every administrator.

    :param when: who asks for their keys
    """
    return (
        f'volume {", ".join(volumes)} is encrypted: nova asks for the key '
        f'with the token of whoever {when}'
    )


def keys_readable(
    uuid: str, name: str, host: str | None, volumes: Collection[str]
) -> Iterator[Gate]:
    """Whether a reboot or start connects the encrypted volumes of a server.

    It asks for a key where libvirt has no secret of the volume any more
    (``_attach_encryptor`` in nova/virt/libvirt/driver.py); up to nova 23 a
    hard reboot deletes it first.
    """
    if volumes:
        yield Gate(
            'keys-readable',
            name,
            'soft',
            'unknown',
            keys_asked(
                volumes,
                f'reboots or starts it, where {host or "its host"} no longer '
                'has it; without the key the guest does not come up',
            ),
            f'{KEYS}, or leave it to its owner:\n'
            f'openstack server reboot --hard {uuid}',
        )


def apis_reachable(
    versions: Mapping[str, str],
    unreachable: Mapping[str, str],
    remedy: str = '',
) -> Gate:
    """Whether all of them answered.

    :param versions: API -> its version
    :param unreachable: API -> why it can't be reached
    """
    if unreachable:
        return Gate(
            'apis-reachable',
            '',
            'hard',
            'unknown',
            '; '.join(f'{api}: {why}' for api, why in unreachable.items()),
            remedy,
        )
    return Gate(
        'apis-reachable',
        '',
        'hard',
        'ok',
        ', '.join(f'{api} {version}' for api, version in versions.items()),
    )
