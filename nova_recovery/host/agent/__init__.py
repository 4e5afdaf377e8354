# SPDX-License-Identifier: Apache-2.0

"""What runs on a host: the standard library alone, syntax of Python 3.6.

RHEL 8's /usr/libexec/platform-python is a 3.6, and nothing may be installed
on a compute host for the sake of a recovery. It answers in JSON lines; the
last one decides, and so does the exit code: 0 done, 1 error, 2 usage,
3 refused, 4 something left or in doubt, 130 interrupted.
"""
