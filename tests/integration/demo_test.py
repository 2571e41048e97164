"""The mesh demo does what it says, and leaves nothing."""
import os
import re
import signal
import unittest

from support.process import Process, wait_until
from support.proxy import BINARY, ROOT
from support.steered import cgroup_mount

DEMO = os.path.join(ROOT, "vagrant", "mesh_demo")


class MeshDemoTest(unittest.TestCase):
    def demo(self, *flags):
        return self.enterContext(Process([DEMO, *flags], env={"MILLRACE_BINARY": os.path.abspath(BINARY)}))

    def check_nothing_left(self, pid):
        for folder in ("/sys/fs/bpf", cgroup_mount()):
            self.assertEqual([name for name in os.listdir(folder) if f"millrace-mesh-{pid}" in name], [])

    def answers(self, text, node, address):
        return re.findall(rf"^{node} \$ curl http://{re.escape(address)}/\n +(.*)$", text, re.MULTILINE)

    def test_applications_meet_through_both_proxies(self):
        demo = self.demo()
        code = demo.wait_exit(120)
        text = demo.read("stdout")
        self.assertEqual(code, 0, text + demo.read("stderr"))
        there = "curl -> Millrace of node1 (out) -> Millrace of node2 (in) -> node2: hello from node2"
        back = "curl -> Millrace of node2 (out) -> Millrace of node1 (in) -> node1: hello from node1"
        self.assertEqual(self.answers(text, "node2", "10.96.0.1"), [back])
        reached, outside = self.answers(text, "node1", "10.96.0.2")
        self.assertEqual(reached, there)
        self.assertIn("Couldn't connect", outside)
        self.assertEqual(sorted(answer.split()[-1] for answer in self.answers(text, "node1", "10.96.0.3")),
                         ["node1", "node2"])
        self.assertEqual(text.count("captured 4 "), 2)
        self.check_nothing_left(demo.pid)

    def test_it_may_stay_up_and_cleans_up_when_it_is_ended(self):
        demo = self.demo("--keep")
        wait_until(lambda: "The nodes are up" in demo.read("stdout") or not demo.running(), 120, "the nodes are up")
        demo.signal(signal.SIGINT)
        self.assertEqual(demo.wait_exit(60), 0, demo.read("stdout") + demo.read("stderr"))
        self.check_nothing_left(demo.pid)
