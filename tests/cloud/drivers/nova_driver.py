# SPDX-License-Identifier: Apache-2.0

"""A hypervisor that remembers its guests: nova's fake driver with a file.

Each host keeps ``guests.json`` in its state_path, so that guests outlive
nova-compute as real guests do, and so that a test sees where a server's
guest is, in which state, how often it was started, and that it is on two
hosts at once: ``{UUID: {"name": "instance-0000000a", "state": "running",
"volumes": {"/dev/sdb": UUID}, "boots": 1}}``.

What the guest printed at its last start is in ``console/UUID``. A test tells
how the next start goes in ``next/UUID``, a JSON object with any of
``console``, ``error`` and ``seconds``, which only that start obeys. A file
``lost/UUID`` takes its power from that one guest; nobody tells nova, unless
``told/UUID`` follows: then nova has the event that libvirt sends.
"""

import json
import os
import threading
import time

from nova import exception
from nova.compute import power_state
import nova.conf
from nova.objects import diagnostics
from nova.virt import driver, event, fake

CONF = nova.conf.CONF

STATES = {
    'running': power_state.RUNNING,
    'paused': power_state.PAUSED,
    'shut off': power_state.SHUTDOWN,
}
NAMES = {state: name for name, state in STATES.items()}

BOOTED = """\
[    0.000000] Linux version 6.12.0 (practice)
[    1.734211] EXT4-fs (vda1): mounted filesystem with ordered data mode.
[    3.120114] systemd[1]: Reached target multi-user.target.

Debian GNU/Linux 12 practice ttyS0

practice login: """


def _volumes(block_device_info):
    """Return the volume of each device, from what nova gave the driver."""
    return {
        entry['mount_device']: entry['connection_info'].get('serial')
        or entry['connection_info']['data'].get('volume_id')
        for entry in driver.block_device_info_get_mapping(block_device_info)
    }


class PracticeDriver(fake.FakeDriverWithoutFakeNodes):
    """Guests of one host; every change is written down at once."""

    vcpus, memory_mb, local_gb = 64, 65536, 2000

    def __init__(self, virtapi, read_only=False):
        super().__init__(virtapi, read_only)
        self._lock = threading.Lock()
        self._volumes = {}
        self._boots = {}
        self._since = {}

    @property
    def _file(self):
        return os.path.join(CONF.state_path, 'guests.json')

    def _console(self, uuid):
        return os.path.join(CONF.state_path, 'console', uuid)

    def init_host(self, host):
        super().init_host(host)
        # libvirt asks the machine for its name, whatever nova calls the host
        self._set_nodes([host.partition('.')[0]])
        try:
            with open(self._file) as saved:
                guests = json.load(saved)
        except FileNotFoundError:
            guests = {}
        for uuid, guest in guests.items():
            self.instances[uuid] = fake.FakeInstance(
                guest['name'], STATES[guest['state']], uuid
            )
            self._volumes[uuid] = guest['volumes']
            self._boots[uuid] = guest.get('boots', 1)
        threading.Thread(target=self._tell, daemon=True).start()

    def _tell(self):
        """Pass on the events of a libvirt, as its driver does."""
        told = os.path.join(CONF.state_path, 'told')
        os.makedirs(told, exist_ok=True)
        while True:
            time.sleep(0.2)
            for uuid in os.listdir(told):
                os.remove(os.path.join(told, uuid))
                self._lose(uuid)
                self.emit_event(
                    event.LifecycleEvent(uuid, event.EVENT_LIFECYCLE_STOPPED)
                )

    def _save(self):
        with self._lock:
            guests = {
                uuid: {
                    'name': guest.name,
                    'state': NAMES[guest.state],
                    'volumes': self._volumes.get(uuid, {}),
                    'boots': self._boots.get(uuid, 0),
                }
                for uuid, guest in list(self.instances.items())
            }
            with open(self._file + '.new', 'w') as new:
                json.dump(guests, new, indent=1)
            os.replace(self._file + '.new', self._file)

    def _set(self, instance, state):
        # as libvirt does, raises InstanceNotFound where there is no domain
        self.get_info(instance)
        self.instances[instance.uuid].state = state
        self._save()

    def _boot(self, instance):
        """Start the guest, this time as a test wants it."""
        uuid = instance.uuid
        wanted = self._next_boot(uuid)
        if wanted:
            # what ran before has been destroyed by now
            self._set(instance, power_state.SHUTDOWN)
            time.sleep(wanted.get('seconds', 0))
            if 'error' in wanted:
                raise exception.InstancePowerOnFailure(reason=wanted['error'])
        os.makedirs(os.path.dirname(self._console(uuid)), exist_ok=True)
        with open(self._console(uuid), 'w') as console:
            console.write(wanted.get('console', BOOTED))
        self._boots[uuid] = self._boots.get(uuid, 0) + 1
        self._since[uuid] = time.monotonic()
        self._set(instance, power_state.RUNNING)

    def get_info(self, instance, use_cache=True):
        self._lose(instance.uuid)
        return super().get_info(instance, use_cache)

    def _lose(self, uuid):
        """Have the guest off whose power a test took."""
        try:
            os.remove(os.path.join(CONF.state_path, 'lost', uuid))
        except FileNotFoundError:
            return
        if uuid in self.instances:
            self.instances[uuid].state = power_state.SHUTDOWN
            self._save()

    def _next_boot(self, uuid):
        path = os.path.join(CONF.state_path, 'next', uuid)
        try:
            with open(path) as file:
                wanted = json.load(file)
        except FileNotFoundError:
            return {}
        # at once: if we are killed meanwhile, our successor isn't slow again
        os.remove(path)
        return wanted

    def spawn(self, context, instance, *args, **kwargs):
        super().spawn(context, instance, *args, **kwargs)
        self._volumes[instance.uuid] = _volumes(
            kwargs.get('block_device_info')
        )
        if kwargs.get('power_on', True):
            self._boot(instance)
        else:
            self._save()

    def destroy(self, context, instance, *args, **kwargs):
        super().destroy(context, instance, *args, **kwargs)
        for known in (self._volumes, self._boots, self._since):
            known.pop(instance.uuid, None)
        self._save()

    def reboot(
        self,
        context,
        instance,
        network_info,
        reboot_type,
        block_device_info=None,
        **kwargs,
    ):
        if reboot_type.lower() == 'hard':
            # libvirt makes the domain anew, with nova's list of volumes
            self.power_on(context, instance, network_info, block_device_info)
        else:
            self.get_info(instance)
            self._boot(instance)

    def power_on(
        self,
        context,
        instance,
        network_info,
        block_device_info=None,
        *args,
        **kwargs,
    ):
        # libvirt's power_on is a hard reboot: it needs no domain
        if instance.uuid not in self.instances:
            self.spawn(
                context,
                instance,
                *(None, None, None, None),
                block_device_info=block_device_info,
            )
            return
        self._volumes[instance.uuid] = _volumes(block_device_info)
        self._boot(instance)

    def resume_state_on_host_boot(
        self,
        context,
        instance,
        network_info,
        share_info,
        block_device_info=None,
    ):
        self.power_on(context, instance, network_info, block_device_info)

    def power_off(self, instance, *args, **kwargs):
        self._set(instance, power_state.SHUTDOWN)

    def pause(self, instance):
        self._set(instance, power_state.PAUSED)

    def unpause(self, instance):
        self._set(instance, power_state.RUNNING)

    def suspend(self, context, instance):
        # a managed save: libvirt shows the domain as shut off
        self._set(instance, power_state.SHUTDOWN)

    def resume(self, context, instance, *args, **kwargs):
        self._set(instance, power_state.RUNNING)

    def attach_volume(
        self, context, connection_info, instance, mountpoint, *args, **kwargs
    ):
        self._volumes.setdefault(instance.uuid, {})[mountpoint] = (
            connection_info.get('serial')
        )
        self._save()

    def detach_volume(
        self, context, connection_info, instance, mountpoint, *args, **kwargs
    ):
        self._volumes.get(instance.uuid, {}).pop(mountpoint, None)
        self._save()

    def migrate_disk_and_power_off(self, context, instance, *args, **kwargs):
        self._set(instance, power_state.SHUTDOWN)

    def finish_revert_migration(self, *args, **kwargs):
        super().finish_revert_migration(*args, **kwargs)
        self._save()

    def pre_live_migration(
        self, context, instance, block_device_info, *args, **kwargs
    ):
        # here its memory arrives, whatever nova hears of it
        volumes = _volumes(block_device_info)
        threading.Thread(
            target=self._arrive, args=(instance, volumes), daemon=True
        ).start()
        return super().pre_live_migration(
            context, instance, block_device_info, *args, **kwargs
        )

    def _arrive(self, instance, volumes):
        """Have the guest as soon as it has left its source."""
        left = self._left(CONF.state_path, instance.uuid)
        for _ in range(600):
            if os.path.exists(left):
                os.remove(left)
                self.instances[instance.uuid] = fake.FakeInstance(
                    instance.name, power_state.RUNNING, instance.uuid
                )
                self._volumes[instance.uuid] = volumes
                self._boots[instance.uuid] = 1
                self._save()
                return
            time.sleep(0.1)

    def _left(self, state_path, uuid):
        return os.path.join(state_path, f'left-{uuid}')

    def live_migration(self, context, instance, dest, *args, **kwargs):
        # the guest has left before nova's post_method asks for it
        self.instances.pop(instance.uuid, None)
        self._volumes.pop(instance.uuid, None)
        self._save()
        theirs = os.path.join(
            os.path.dirname(CONF.state_path), f'compute-{dest}'
        )
        with open(self._left(theirs, instance.uuid), 'w'):
            pass
        # as a test wants it: the time until nova hears of it
        time.sleep(self._next_boot(instance.uuid).get('seconds', 0))
        super().live_migration(context, instance, dest, *args, **kwargs)

    def post_live_migration_at_destination(
        self, context, instance, network_info, *args, **kwargs
    ):
        if instance.uuid not in self.instances:
            super().post_live_migration_at_destination(
                context, instance, network_info, *args, **kwargs
            )

    def attach_interface(self, context, instance, image_meta, vif):
        self._interfaces[vif['id']] = vif

    def detach_interface(self, context, instance, vif):
        # unlike the parent, also for guests from before our start
        self._interfaces.pop(vif['id'], None)

    def get_instance_diagnostics(self, instance):
        # nova asks for running guests only
        since = self._since.get(instance.uuid)
        return diagnostics.Diagnostics(
            state=NAMES[self.instances[instance.uuid].state],
            driver='libvirt',
            hypervisor='kvm',
            hypervisor_os='practice',
            # None: since before our start
            uptime=None if since is None else int(time.monotonic() - since),
            config_drive=False,
        )

    def get_console_output(self, context, instance):
        try:
            with open(self._console(instance.uuid), 'rb') as console:
                return console.read()
        except FileNotFoundError:
            return BOOTED

    def instance_on_disk(self, instance):
        return instance.uuid in self.instances

    def get_volume_connector(self, instance):
        number = int(''.join(c for c in self._host if c.isdigit()) or 0)
        return {
            'platform': 'x86_64',
            'os_type': 'linux',
            'ip': f'192.0.2.{number}',
            'host': self._host,
            'multipath': False,
            'initiator': f'iqn.1993-08.org.debian:01:{self._host}',
        }
