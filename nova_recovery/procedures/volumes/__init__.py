# SPDX-License-Identifier: Apache-2.0

"""Volumes: what is wrong with them, and each wrong thing mended alone.

Nova says which volumes a server has, cinder says to which servers a volume
is attached. ``assess`` compares the two, ``reset``, ``attach`` and
``detach`` mend one thing of one volume.
"""
