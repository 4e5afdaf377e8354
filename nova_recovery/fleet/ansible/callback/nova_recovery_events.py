# SPDX-License-Identifier: Apache-2.0

"""Ansible's side of the driver: a line of JSON for what each host gave.

ansible-playbook loads this file; nova-recovery never imports it. It works
with ansible-core 2.14 and all later ones.
"""

import ctypes
import json
import os
import signal

from ansible.plugins.callback import CallbackBase  # type: ignore

_PR_SET_PDEATHSIG = 1


class CallbackModule(CallbackBase):  # type: ignore
    """Writes to the descriptor that nova-recovery opened for it."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = 'stdout'
    CALLBACK_NAME = 'nova_recovery_events'

    def __init__(self) -> None:
        super().__init__()
        _die_with(int(os.environ['NOVA_RECOVERY_PARENT']))
        descriptor = int(os.environ['NOVA_RECOVERY_EVENTS'])
        # ssh masters live on, and must not hold it open
        os.set_inheritable(descriptor, False)
        self._events = os.fdopen(descriptor, 'w', buffering=1)

    def v2_playbook_on_play_start(self, play):  # type: ignore
        # it was read: nothing is left where nova-recovery is killed
        os.unlink(os.environ['NOVA_RECOVERY_PLAY'])

    def v2_runner_on_ok(self, result):  # type: ignore
        self._say('ok', result)

    def v2_runner_on_failed(self, result, ignore_errors=False):  # type: ignore
        self._say('failed', result)

    def v2_runner_on_unreachable(self, result):  # type: ignore
        self._say('unreachable', result)

    def _say(self, event, result):  # type: ignore
        # 2.19 gave the attributes new names, and will drop the old ones
        new = hasattr(result, 'result')
        host = result.host if new else result._host
        fields = result.result if new else result._result
        line = {
            'event': event,
            'host': host.get_name(),
            'text': str(fields.get('stdout', '')),
            'words': '{} {}'.format(
                fields.get('msg', ''), fields.get('stderr', '')
            ),
            'timed_out': 'timedout' in fields
            # before 2.19 only the words tell
            or 'in the expected time frame' in str(fields.get('msg', '')),
        }
        self._events.write(json.dumps(line) + '\n')


def _die_with(parent):  # type: ignore
    """Go on to no other host when nova-recovery is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # it was killed before it could be said
        os.kill(os.getpid(), signal.SIGKILL)
