# SPDX-License-Identifier: Apache-2.0

"""The driver ``ansible``: ansible-playbook as a program, one play a call.

The operator's own inventory, connection and become are used as they are.
Ansible is GPL, and no library: nothing of it is imported here. It loads the
file in ``callback`` by itself.
"""

from nova_recovery.fleet.ansible.transport import Transport

__all__ = ['Transport']
