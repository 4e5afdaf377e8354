# SPDX-License-Identifier: Apache-2.0
"""What the serial console tells of a guest's last boot, and watching it.

Texts of firmware, boot loaders, initramfs-tools, dracut, systemd, fsck and
Windows, as they write them. Judging is pure: the log is text.
"""

from __future__ import annotations

import re
import threading
import time
from typing import NamedTuple

from oslo_utils import strutils

from nova_recovery.changes.base import At, Look
from nova_recovery.engine import printable
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ChangeFailed

BOOTED = 'booted'
DISK = 'waiting for a disk'
EMERGENCY = 'emergency mode'
FSCK = 'fsck'
NO_DEVICE = 'no boot device'
PANIC = 'panic'
SILENT = 'silent'

#: A line is shown up to here.
_LONGEST = 200
_ESCAPES = re.compile(r'\x1b(\[[0-9;?]*[ -/]*[@-~]|[()][0-9A-Z]|[=>])')

#: How far a boot is. A line of an earlier stage begins another boot; so does
#: one that a boot has once only.
_STAGES = (
    (0, re.compile(r'SeaBIOS \(version'), True),
    (0, re.compile(r'BdsDxe: |UEFI firmware \(version'), False),
    (1, re.compile(r'Booting from (Hard|DVD|CD|ROM|Floppy)'), False),
    (2, re.compile(r'GRUB loading|Welcome to GRUB|GNU GRUB'), False),
    (3, re.compile(r'\bLinux version \d|Computer is booting, SAC'), True),
)
_KERNEL = 3


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile('|'.join(patterns))


_TELLING = (
    (
        PANIC,
        _any(
            r'(?<!end )Kernel panic - not syncing',
            r'VFS: Unable to mount root fs',
            r'^panic: ',
            r'\*\*\* STOP: 0x',
            r'INACCESSIBLE_BOOT_DEVICE',
            r'BLUESCREEN',
        ),
    ),
    (
        NO_DEVICE,
        _any(
            r'(?i:no boot(able)? (device|medium|disk))',
            r'Boot failed: (not a bootable disk|could not read)',
            r'(?i:(missing operating system|operating system not found))',
            r'An operating system wasn.t found',
            r'BdsDxe: No bootable option',
            r'UEFI Interactive Shell',
            r'BOOTMGR is (missing|compressed)|NTLDR is missing',
            r'grub rescue>',
            r'error: (no such (device|partition|disk)|unknown filesystem)',
            r'Minimal BASH-like line editing',
        ),
    ),
    (
        DISK,
        _any(
            r'Gave up waiting for root',
            r'dracut-initqueue.* timeout',
            r'Timed out waiting for device',
            r'A start job is running for (/dev/|dev-|.*/dev/disk/)',
            r'ALERT!.* does not exist',
            r'Waiting for root (file ?system|device)',
            r'\(initramfs\)',
            # a floppy drive that isn't there says so in each boot
            r'I/O error,? (on )?dev (?!fd|sr)',
            r'rejecting I/O to offline device',
        ),
    ),
    (
        EMERGENCY,
        _any(
            r'You are in (emergency|rescue) mode',
            r'Give root password for (system )?maintenance',
            r'Press Enter for (system )?maintenance',
            r'root account is locked',
            r'Entering emergency mode',
            r'Reached target (Emergency|Rescue|emergency|rescue)',
            r'Started (Emergency|Rescue) Shell',
            r'initramfs emergency recovery shell',
            r'^(dracut|switch_root):/#',
            r'Enter full pathname of shell',
        ),
    ),
    (
        FSCK,
        _any(
            r'UNEXPECTED INCONSISTENCY',
            r'File System Check on /dev/.*( / |no limit)',
            r'(Checking in progress|fsck).*\d+(\.\d+)? ?% complete',
            r'/dev/\S+: [|=\s/\\-]+\d+(\.\d+)? ?%',
            r'contains a file system with errors, check forced',
            r'fsck.* (exited|failed|terminated) with (exit |error )?'
            r'(status code|status|code):? ([2-9]|\d\d)',
            r'(Scanning and repairing drive|CHKDSK)',
        ),
    ),
    (
        BOOTED,
        _any(
            r'\blogin: *$',
            r'Reached target (Multi-User|Graphical|multi-user|graphical)',
            r'Cloud-init v.* finished at',
            r'The CMD command is now available',
        ),
    ),
)
#: Lines that tell less than one of the same class before them.
_WEAK = re.compile(
    r'^(\(initramfs\)|dracut:/#|grub rescue>)\s*$|^fsck exited with'
)
#: What a guest went through before it gave up tells more than that it did.
_CAUSES = (DISK, FSCK)


class Seen(NamedTuple):
    """:ivar line: the line that tells it, printable; '' if none does"""

    what: str
    line: str


def classify(text: str) -> Seen:
    """How far the last boot in a console log came.

    The last telling line decides. A guest that has booted stays so, whatever
    its kernel says later, unless it panics.

    :returns: the class and its line; with ``silent`` the last line that
        there is
    """
    seen, cause, last = Seen(SILENT, ''), '', ''
    stage = -1
    for line in _lines(text):
        last = line
        new = _stage(line)
        if new is not None:
            reached, once = new
            if reached < stage or (reached == stage and once):
                seen, cause = Seen(SILENT, ''), ''
            if reached == _KERNEL and seen.what == NO_DEVICE:
                # the firmware found one at last
                seen = Seen(SILENT, '')
            stage = reached
        what = _class_of(line)
        if what is None or (seen.what == BOOTED and what != PANIC):
            continue
        if what == seen.what and _WEAK.search(line):
            continue
        if what in _CAUSES:
            cause = line
        seen = Seen(what, line)
    if seen.what == SILENT:
        return Seen(SILENT, _shown(last))
    told = cause if seen.what == EMERGENCY and cause else seen.line
    return Seen(seen.what, _shown(told))


def _lines(text: str) -> list[str]:
    plain = _ESCAPES.sub('', text)
    return [line for line in re.split('[\r\n]+', plain) if line.strip()]


def _stage(line: str) -> tuple[int, bool] | None:
    for stage, pattern, once in _STAGES:
        if pattern.search(line):
            return stage, once
    return None


def _kernel(text: str) -> bool:
    """Whether more than firmware and a boot loader wrote."""
    stages = (_stage(line) for line in _lines(text))
    return any(one is not None and one[0] >= _KERNEL for one in stages)


def _class_of(line: str) -> str | None:
    for what, pattern in _TELLING:
        if pattern.search(line):
            return what
    return None


def _shown(line: str) -> str:
    clean = strutils.mask_password(printable.clean(line.strip()))
    return clean if len(clean) <= _LONGEST else clean[:_LONGEST] + '…'


#: Seconds between two looks: at first, and at most.
FIRST, SLOWEST = 1.0, 10.0
#: Lines of the log that are asked for: of a whole boot with its services.
LINES = 1000
#: Seconds after which an empty log stays empty: most systems don't write to
#: a serial console at all.
EMPTY = 30.0
#: After so many in a row that rested, one of how many is waited for: each
#: holds up its wave, and 10,000 that tell nothing are some minutes.
ROW, EACH = 32, 250
#: Seconds that such a one is waited for, if no kernel wrote on it: most whose
#: system writes to its serial console do so by then. One that is slower, such
#: as by a menu of its boot loader on the screen, passes for silent.
SAMPLE = 5.0
#: These won't come up by themselves, if it stays with that for so long: the
#: firmware may try another disk, and a kernel that panicked starts anew.
STAYS = 5.0
_OVER = frozenset({PANIC, NO_DEVICE, EMERGENCY})
_WHAT_TO_DO = {
    DISK: 'see that its volumes are attached and that its host '
    'reaches their storage',
    EMERGENCY: 'log in on its console (openstack console url show {uuid})',
    FSCK: 'leave it alone while it checks; where it asks for an '
    'answer, give it on its console (openstack console url show {uuid})',
    NO_DEVICE: 'see that its boot volume is attached and has what it should',
    PANIC: 'see that its disks are there; its console has the rest '
    '(openstack console log show {uuid})',
}


class Rested:
    """How many consoles in a row rested without a telling line.

    Those on which a kernel wrote are counted by themselves: where most
    guests write nothing at all, one that does is worth waiting for.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows = {True: 0, False: 0}
        self._passed = 0

    def patience(self, kernel: bool, quiet: float) -> float | None:
        """How long one more may rest, None: a look is enough.

        :param kernel: a kernel wrote on it
        :param quiet: seconds for which a console rests before it is silent
        """
        with self._lock:
            if self._rows[kernel] < ROW:
                return quiet
            self._passed += 1
            if self._passed % EACH:
                return None
            return quiet if kernel else min(quiet, SAMPLE)

    def saw(self, what: str, kernel: bool) -> None:
        """What one that was waited for came to."""
        with self._lock:
            if what == SILENT:
                self._rows[kernel] += 1
            else:
                self._rows = {True: 0, False: 0}


class WatchBoot(Look):
    """Wait until the guest has booted, or tell why it doesn't.

    It is never restarted for that. After a row of consoles that rested,
    where others wait, only a sample is waited for.

    Data: uuid, host, seconds (how long it may take), and quiet, where others
    wait for it (after so many seconds without new text it is silent, unless
    the text tells of trouble). The subject is ``boot:UUID``, so that what is
    done to the server goes on without it.
    """

    kind = 'watch-boot'
    watches = True

    def __init__(self) -> None:
        self._rested = Rested()

    def describe(self, item: Item) -> list[str]:
        line = f'? comes up within {item.data["seconds"]} s, by its console'
        if 'quiet' in item.data:
            line += f', unless that rests for {item.data["quiet"]} s'
        return [line]

    def apply(self, at: At) -> str:
        seen = self._watch(at)
        at.note(console=seen.what)
        if seen.what == BOOTED:
            return seen.what
        if seen.what == SILENT:
            last = f': {seen.line}' if seen.line else ''
            return f'{seen.what}{last}'
        todo = _WHAT_TO_DO[seen.what].format(uuid=at.data['uuid'])
        raise ChangeFailed(f'{seen.what}: {seen.line}; {todo}')

    def _watch(self, at: At) -> Seen:
        began, pause = time.monotonic(), FIRST
        seconds = float(at.data['seconds'])
        quiet = float(at.data.get('quiet', seconds))
        patience = quiet
        before: Seen | None = None
        since = written = began
        last = ''
        while True:
            text = at.cloud.compute.console(at.data['uuid'], LINES)
            if text is None:
                return Seen(SILENT, 'nova keeps no log of it')
            seen = classify(text)
            if before is None and seen.what == SILENT and 'quiet' in at.data:
                given = self._rested.patience(_kernel(text), quiet)
                if given is None:
                    return Seen(
                        SILENT, 'looked at once, as those before it rest'
                    )
                patience = given
            now = time.monotonic()
            if seen != before:
                before, since = seen, now
            stays = seen.what in _OVER and now - since >= STAYS
            if seen.what == BOOTED or stays:
                break
            if text != last:
                last, written = text, now
                if _kernel(text):
                    # also of a sample: it tells more than those before it
                    patience = quiet
            left = began + seconds - now
            if seen.what == SILENT:
                left = min(left, written + patience - now)
            if not text.strip():
                left = min(left, began + EMPTY - now)
            if left <= 0:
                break
            at.progress(f'{seen.what}: {seen.line}')
            at.wait(min(pause, left))
            pause = min(2 * pause, SLOWEST)
        if 'quiet' in at.data:
            self._rested.saw(seen.what, _kernel(text))
        return seen
