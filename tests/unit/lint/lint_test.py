"""Tests of .ci/lint and .ci/summary, run over small trees made for each case."""
import importlib.machinery
import importlib.util
import os
import subprocess
import tempfile
import unittest

CI = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", ".ci")


def load(name):
    loader = importlib.machinery.SourceFileLoader(name, os.path.join(CI, name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


lint = load("lint")
summary = load("summary")
LAYERS = "base:\nio: base\nhttp: base\nconfig: base http\n"


class TreeTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name
        subprocess.run(["git", "init", "-q", self.root], check=True)
        self.write(".ci/layers.txt", LAYERS)

    def write(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as f:
            f.write(text)

    def found(self, check):
        return check(lint.Tree(self.root))

    def test_accepts_an_include_of_a_lower_room(self):
        self.write("userspace/http/codec.cc", '#include "base/buffer.h"\n#include "http/codec.h"\n')
        self.assertEqual(self.found(lint.check_layers), [])

    def test_rejects_an_include_that_points_up_or_sideways(self):
        self.write("userspace/base/a.cc", '#include "http/codec.h"\n')
        self.write("userspace/http/b.cc", '#include "io/ring.h"\n')
        found = self.found(lint.check_layers)
        self.assertEqual(len(found), 2)
        self.assertIn("userspace/base/a.cc:1", found[0])

    def test_rejects_a_room_without_a_layer(self):
        self.write("userspace/helpers/a.cc", "")
        self.assertEqual(len(self.found(lint.check_layers)), 1)

    def test_rejects_an_include_without_its_room(self):
        self.write("userspace/base/a.cc", '#include "b.h"\n')
        self.assertEqual(len(self.found(lint.check_layers)), 1)

    def test_keeps_libraries_in_their_rooms(self):
        self.write("userspace/io/ring.h", "#include <liburing.h>\n")
        self.assertEqual(self.found(lint.check_libraries), [])
        self.write("userspace/http/a.cc", "#include <liburing.h>\n#include <openssl/ssl.h>\n")
        self.assertEqual(len(self.found(lint.check_libraries)), 2)

    def test_keeps_protobuf_out_of_headers(self):
        self.write("userspace/config/a.cc", '#include "envoy/config/core/v3/base.pb.h"\n')
        self.assertEqual(self.found(lint.check_libraries), [])
        self.write("userspace/config/a.h", "#include <google/protobuf/message.h>\n")
        self.assertEqual(len(self.found(lint.check_libraries)), 1)

    def test_wants_headers_to_open_with_a_comment_and_a_guard(self):
        self.write("userspace/base/good.h", "// What it is.\n#pragma once\n")
        self.assertEqual(self.found(lint.check_headers), [])
        self.write("userspace/base/bad.h", "int x;\n")
        self.assertEqual(len(self.found(lint.check_headers)), 2)

    def test_rejects_long_lines_and_long_files(self):
        self.write("userspace/base/a.cc", "x" * 120 + "\n" + "\n" * 699)
        self.assertEqual(self.found(lint.check_lengths), [])
        self.write("userspace/base/a.cc", "x" * 121 + "\n" + "\n" * 700)
        self.assertEqual(len(self.found(lint.check_lengths)), 2)

    def test_rejects_words_of_unfinished_work_and_machine_paths(self):
        self.write("userspace/base/a.cc", "// TO" + "DO later\n// /wo" + "rk/here\n// network/work/ is fine\n")
        self.assertEqual(len(self.found(lint.check_words)), 2)

    def test_rejects_coroutines(self):
        self.write("userspace/base/a.cc", "co_" + "await x;\n")
        self.assertEqual(len(self.found(lint.check_coroutines)), 1)

    def test_rejects_a_new_top_level_entry_but_not_a_dotfile(self):
        self.write("README.md", "")
        self.write(".clang-format", "")
        self.assertEqual(self.found(lint.check_top_level), [])
        self.write("scripts/x.sh", "")
        self.assertEqual(len(self.found(lint.check_top_level)), 1)

    def test_wants_a_test_for_every_example(self):
        self.write("config/examples/a.yaml", "")
        self.assertEqual(len(self.found(lint.check_examples)), 1)
        self.write("tests/integration/examples_test.py", 'EXAMPLES = ["a.yaml"]')
        self.assertEqual(self.found(lint.check_examples), [])

    def test_warns_of_a_long_function_only(self):
        self.write("userspace/base/a.cc", "int f() {\n" + "  g();\n" * 90 + "}\n\nint g() {\n  return 1;\n}\n")
        found = self.found(lint.warn_functions)
        self.assertEqual(len(found), 1)
        self.assertIn("a.cc:1:", found[0])


class SummaryTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def junit(self, name, *cases):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write("<testsuite>" + "".join(cases) + "</testsuite>")
        return path

    def test_sums_over_files_and_names_what_failed(self):
        one = self.junit("release.xml", '<testcase name="a" status="run"/>',
                         '<testcase name="b" status="fail"><failure/></testcase>')
        two = self.junit("asan.xml", '<testcase name="a" status="run"/>')
        lines, failed = summary.summary([one, two], in_ci=False)
        self.assertEqual(lines, ["failed: b (release)", "2 passed, 1 failed"])
        self.assertEqual(failed, 1)

    def test_a_skip_fails_in_ci_only(self):
        path = self.junit("release.xml", '<testcase name="a" status="notrun">'
                          '<skipped message="SKIP_REGULAR_EXPRESSION_MATCHED"/></testcase>')
        self.assertEqual(summary.summary([path], in_ci=False)[1], 0)
        self.assertEqual(summary.summary([path], in_ci=True)[1], 1)

    def test_a_test_that_could_not_start_is_a_failure(self):
        path = self.junit("release.xml", '<testcase name="a" status="notrun">'
                          '<skipped message="Unable to find executable"/></testcase>')
        self.assertEqual(summary.summary([path], in_ci=False)[1], 1)

    def test_a_missing_or_empty_result_is_a_failure(self):
        empty = self.junit("release.xml")
        lines, failed = summary.summary([empty, os.path.join(self.folder, "none.xml")], in_ci=False)
        self.assertEqual(failed, 2)
        self.assertEqual(lines[-1], "0 passed, 2 failed")


if __name__ == "__main__":
    unittest.main()
