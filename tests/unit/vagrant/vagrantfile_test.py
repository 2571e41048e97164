"""vagrant/Vagrantfile passes `vagrant validate`, the block of its provider included. Vagrant asks the provider for its
version only; a stand-in says one, so no machine is ever made and VirtualBox is not needed.
"""
import os
import shutil
import subprocess
import tempfile
import unittest

LAB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "vagrant")


@unittest.skipUnless(shutil.which("vagrant"), "no vagrant")
class VagrantfileTest(unittest.TestCase):
    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.lab = os.path.join(self.folder, "lab")
        os.mkdir(self.lab)
        for name in ("Vagrantfile", "kernels.yaml"):
            shutil.copy(os.path.join(LAB, name), self.lab)
        manage = os.path.join(self.folder, "VBoxManage")
        with open(manage, "w", encoding="ascii") as f:
            f.write("#!/bin/sh\necho 7.0.0r1\n")
        os.chmod(manage, 0o755)

    def validate(self, **env):
        done = subprocess.run(["vagrant", "validate"], cwd=self.lab, capture_output=True, text=True, check=False, env={
            **os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}", "VAGRANT_DEFAULT_PROVIDER": "virtualbox",
            "VAGRANT_HOME": os.path.join(self.folder, "home"), "VAGRANT_CHECKPOINT_DISABLE": "1", **env})
        return done.returncode, done.stdout + done.stderr

    def replace(self, old, new):
        path = os.path.join(self.lab, "Vagrantfile")
        with open(path, encoding="utf-8") as f:
            text = f.read()
        self.assertIn(old, text)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text.replace(old, new))

    def test_it_is_valid_with_every_kernel(self):
        for kernel in ("6.1", "6.12"):
            with self.subTest(kernel):
                code, text = self.validate(KERNEL=kernel, NODES="3")
                self.assertEqual(code, 0, text)
                self.assertIn("validated successfully", text)

    def test_an_unknown_kernel_is_named(self):
        code, text = self.validate(KERNEL="5.0")
        self.assertNotEqual(code, 0)
        self.assertIn("no kernel 5.0 in kernels.yaml; there is: 6.1, 6.12", text)

    def test_what_is_wrong_would_be_found(self):
        self.replace("machine.cpus, machine.memory = 2, 4096", "machine.cups = 2")
        self.replace("node.vm.hostname =", "node.vm.hostnam =")
        code, text = self.validate()
        self.assertNotEqual(code, 0)
        self.assertIn("shouldn't exist: hostnam", text)
