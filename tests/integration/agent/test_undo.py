# SPDX-License-Identifier: Apache-2.0

"""What was changed is changed back, unless somebody moved on."""

from __future__ import annotations

import os
import shutil

from tests.integration.agent import base, trees


class Undo(base.AgentTest):
    def setUp(self) -> None:
        super().setUp()
        self.build()

    def test_nothing_was_changed(self) -> None:
        self.assertEqual(0, self.agent('undo'), self.lines)
        self.assertEqual(0, self.result['restored'])
        self.assertIn('nothing was undone', self.result['text'])
        # it may have been a slip
        self.assertFalse(self.state.exists())
        self.assert_as_before()

    def test_the_pairs_need_not_be_given(self) -> None:
        self.assertEqual(0, self.agent('change'))
        words = ['owners', 'undo', '--root', str(self.root)]
        self.assertEqual(0, self.typed([*words, '--state', str(self.state)]))
        self.assert_as_before()

    def test_again_and_then_another_change(self) -> None:
        for _ in range(2):
            self.assertEqual(0, self.agent('change'))
            self.assert_changed()
            for _ in range(2):
                self.assertEqual(0, self.agent('undo'), self.lines)
                self.assert_as_before()
        self.pairs = trees.CHAIN
        self.assertEqual(0, self.agent('change'), self.lines)
        self.assert_changed()

    def test_what_somebody_changed_since_stays_as_they_have_it(self) -> None:
        self.assertEqual(0, self.agent('change'))
        inside = self.root
        os.chown(inside / 'plain', 7, 7)
        os.chmod(inside / 'end-of-chain', 0o640)
        os.chmod(inside / 'setuid', 0o755)
        os.setxattr(inside / 'acl-only', trees.ACCESS, trees.acl({9: 7}))
        # a guest ended: libvirt gave it back and forgot
        os.removexattr(inside / 'remembered-only', trees.REMEMBERED)
        theirs = trees.snapshot(self.tree)
        changed = {
            'plain',
            'end-of-chain',
            'setuid',
            'acl-only',
            'remembered-only',
        }
        self.assertEqual(4, self.agent('undo'))
        problems = self.problems()
        # its name in the journal is the one that was seen first
        self.assertEqual(5, len(problems.pop('changed-since')))
        self.assertEqual({}, problems)
        now = trees.snapshot(self.tree)
        for path in now:
            name = path[len(b'/in/') :].decode(errors='replace')
            mine = name in changed or name == 'deep/hard-link'
            wanted = theirs if mine else self.before
            self.assertEqual(wanted[path], now[path], path)
        # the same again: the same
        self.assertEqual(4, self.agent('undo'))
        self.assertEqual(now, trees.snapshot(self.tree))

    def test_a_capability_that_came_since_is_kept(self) -> None:
        self.pairs = ['--gid', '121:126']
        self.assertEqual(0, self.agent('change'))
        path = self.root / 'only-group'
        os.setxattr(path, trees.CAPABILITY, trees.NET_RAW)
        self.assertEqual(4, self.agent('undo'))
        self.assertEqual({'changed-since': {'only-group'}}, self.problems())
        self.assertEqual(trees.NET_RAW, os.getxattr(path, trees.CAPABILITY))

    def test_another_file_of_that_name_is_left_alone(self) -> None:
        self.assertEqual(0, self.agent('change'))
        path = self.root / 'plain'
        path.rename(self.tree / 'out' / 'kept')
        trees.make(path, 162, 162)
        self.assertEqual(4, self.agent('undo'))
        self.assertEqual({'gone': {'plain'}}, self.problems())
        self.assertEqual((162, 162), self.ids('plain'))
        self.assertEqual((108, 5), self.ids('new\nline'))

    def test_nor_is_one_that_got_the_number_of_the_inode(self) -> None:
        # file systems give a number again; when one was made tells
        self.assertEqual(0, self.agent('change'))
        inode = (self.root / 'plain').stat().st_ino
        hook = f"""
            from nova_recovery.host.agent import kernel
            real = kernel.born
            def born(descriptor, name=b''):
                if os.fstat(descriptor).st_ino == {inode}:
                    return 2 * 10 ** 18
                return real(descriptor, name)
            kernel.born = born
        """
        self.assertEqual(4, self.agent('undo', hook=hook))
        self.assertEqual({'gone': {'plain'}}, self.problems())
        self.assertEqual((162, 162), self.ids('plain'))

    def test_what_was_moved_is_found(self) -> None:
        self.assertEqual(0, self.agent('change'))
        # logrotate; nova's resize; out of a directory that is removed
        (self.root / 'plain').rename(self.root / 'plain.1')
        (self.root / 'deep').rename(self.root / 'deep_resize')
        (self.root / 'setuid').unlink()
        self.assertEqual(0, self.agent('undo'), self.lines)
        self.assertEqual((108, 120), self.ids('plain.1'))
        self.assertEqual((108, 120), self.ids('deep_resize'))
        self.assertEqual((108, 120), self.ids('deep_resize/hard-link'))
        mode = (self.root / 'deep_resize/hard-link').stat().st_mode
        self.assertEqual(0o6755, mode & 0o7777)

    def test_what_was_removed_is_told(self) -> None:
        self.assertEqual(0, self.agent('change'))
        shutil.rmtree(self.root / 'deep')
        (self.root / 'plain').rename(self.tree / 'out' / 'moved-out')
        self.assertEqual(4, self.agent('undo'))
        self.assertEqual({'gone'}, set(self.problems()))
        self.assertIn('deep', self.problems()['gone'])
        self.assertIn('plain', self.problems()['gone'])
        self.assertEqual((162, 162), self.ids('../out/moved-out'))

    def test_begun_the_change_does_not_go_on(self) -> None:
        self.assertEqual(0, self.agent('change'))
        hook = """
            from nova_recovery.host.agent import kernel
            real = kernel.fchownat
            def die(*words):
                os.kill(os.getpid(), 9)
            kernel.fchownat = die
        """
        self.assertEqual(-9, self.agent('undo', hook=hook))
        self.assertEqual(3, self.agent('change'))
        self.assertIn('type the undo again', self.lines[-1]['text'])
        self.assertEqual(0, self.agent('undo'))
        self.assert_as_before()


class GoesOn(base.AgentTest):
    """A change that was killed, when the world did not stand still."""

    #: Killed with setuid's owner changed and its bits gone.
    HALF = """
        def die(*words):
            os.kill(os.getpid(), 9)
        os.chmod = die
    """

    def setUp(self) -> None:
        super().setUp()
        self.root.mkdir(parents=True)
        (self.root / 'sub').mkdir()
        trees.make(self.root / 'sub' / 'setuid', 108, 120, 0o6755)
        os.setxattr(
            self.root / 'sub' / 'setuid', trees.CAPABILITY, trees.NET_RAW
        )
        self.before = trees.snapshot(self.tree)

    def killed(self) -> None:
        self.assertEqual(-9, self.agent('change', hook=self.HALF))
        status = (self.root / 'sub' / 'setuid').stat()
        self.assertEqual(
            (162, 0o755), (status.st_uid, status.st_mode & 0o7777)
        )

    def whole(self, name: str) -> None:
        status = (self.root / name).stat()
        self.assertEqual((162, 162), (status.st_uid, status.st_gid))
        self.assertEqual(0o6755, status.st_mode & 0o7777)
        self.assertEqual(
            trees.NET_RAW, os.getxattr(self.root / name, trees.CAPABILITY)
        )

    def test_moved_meanwhile(self) -> None:
        for chained in (False, True):
            if chained:
                self.pairs = [*self.pairs, '--uid', '162:170']
                os.rename(self.root / 'sub2', self.root / 'sub')
                shutil.rmtree(self.state)
            self.killed()
            (self.root / 'sub').rename(self.root / 'sub2')
            # killed once more before it is found
            early = """
                from nova_recovery.host.agent.owners import change
                def die(self):
                    os.kill(os.getpid(), 9)
                change.Change._passes = die
            """
            self.assertEqual(-9, self.agent('change', hook=early))
            self.assertEqual(0, self.agent('change'), self.lines)
            self.whole('sub2/setuid')
            self.assertEqual(0, self.agent('verify'), self.lines)
            self.assertEqual(0, self.agent('undo'), self.lines)
            self.assertEqual((108, 120), self.ids('sub2/setuid'))
            self.assertEqual(
                0o6755, (self.root / 'sub2/setuid').stat().st_mode & 0o7777
            )

    def test_after_a_power_cut_a_done_batch_is_not_believed(self) -> None:
        self.assertEqual(0, self.agent('change', hook=self.UNFINISHED))
        path = self.root / 'sub' / 'setuid'
        self.whole('sub/setuid')
        # the mark came to the disk, its chmod didn't
        path.chmod(0o755)
        self.assertEqual(0, self.agent('change', hook=self.OTHER_BOOT))
        self.whole('sub/setuid')
        # and in the boot of the mark it is
        path.chmod(0o755)
        self.assertEqual(0, self.agent('change'))
        self.assertEqual(0o755, path.stat().st_mode & 0o7777)

    UNFINISHED = """
        from nova_recovery.host.agent.owners import journal
        journal.Journal.finish = lambda self, time: None
    """
    OTHER_BOOT = """
        from nova_recovery.host.agent import kernel
        kernel.boot_id = lambda: b'another boot    '
    """

    def test_acls_alone_in_a_chain_are_not_written_twice(self) -> None:
        self.pairs = ['--uid', '108:112', '--uid', '112:119']
        shutil.rmtree(self.tree)
        self.root.mkdir(parents=True)
        for number in range(20):
            path = self.root / str(number)
            trees.make(path, 5, 6)
            os.setxattr(path, trees.ACCESS, trees.acl({108: 7}))
        self.before = trees.snapshot(self.tree)
        half = """
            real = os.setxattr
            def setxattr(*words, count=[0]):
                count[0] += 1
                if count[0] == 10:
                    os.kill(os.getpid(), 9)
                real(*words)
            os.setxattr = setxattr
        """
        self.assertEqual(-9, self.agent('change', hook=half))
        for _ in range(2):
            self.assertEqual(0, self.agent('change'), self.lines)
            self.assert_changed()
        self.assertEqual(0, self.agent('undo'))
        self.assert_as_before()
