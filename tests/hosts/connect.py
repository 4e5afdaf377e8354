# SPDX-License-Identifier: Apache-2.0

"""connect.py NAMESPACE ADDRESS PORT: ssh's ProxyCommand into the beds.

It connects in a network namespace and hands the socket over to ssh
(ProxyUseFdpass of ssh_config(5)): a cut network is then seen by ssh as it
would see one, and nothing stands in between.
"""

import array
import ctypes
import os
import socket
import sys

namespace, address, port = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
if libc.setns(os.open(namespace, os.O_RDONLY), 0) != 0:
    sys.exit(f'{namespace}: {os.strerror(ctypes.get_errno())}')
try:
    connected = socket.create_connection((address, int(port)), timeout=5)
except OSError as error:
    sys.exit(f'{address}:{port}: {error}')
connected.setblocking(True)
passed = array.array('i', [connected.fileno()])
socket.socket(fileno=1).sendmsg(
    [b'\0'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)]
)
