"""Loading a configuration: what tutorials write runs as it is; what is wrong is said with its place."""
import json
import os
import re
import signal
import socket
import tempfile
import unittest

from support import configs, upstream
from support.case import ProxyCase
from support.http1 import get
from support.ports import free_port
from support.proxy import ROOT, Proxy, run, validate

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def quick_start(port, upstream_port, admin):
    """The usual first configuration, with the router by its name only."""
    return f"""\
admin:
  access_log_path: /dev/null
  address:
    socket_address: {{ address: 127.0.0.1, port_value: {admin} }}
static_resources:
  listeners:
  - name: listener_0
    address:
      socket_address: {{ address: 127.0.0.1, port_value: {port} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {HCM}
          stat_prefix: ingress_http
          codec_type: AUTO
          route_config:
            name: local_route
            virtual_hosts:
            - name: local_service
              domains: ["*"]
              routes:
              - match: {{ prefix: "/" }}
                route: {{ cluster: some_service }}
          http_filters:
          - name: envoy.filters.http.router
  clusters:
  - name: some_service
    connect_timeout: 0.25s
    type: STATIC
    lb_policy: ROUND_ROBIN
    load_assignment:
      cluster_name: some_service
      endpoints:
      - lb_endpoints:
        - endpoint:
            address:
              socket_address:
                address: 127.0.0.1
                port_value: {upstream_port}
"""


class RefusedTest(unittest.TestCase):
    def refused(self, text, *parts):
        """The error names file:line:column and says the given parts; returns the output."""
        outcome = validate(text)
        self.assertNotEqual(outcome.code, 0, outcome.text)
        self.assertGreaterEqual(outcome.code, 0, "it must not crash")
        for part in parts:
            self.assertRegex(outcome.text, part)
        return outcome.text

    def place(self, text, needle):
        """'line:column' pattern of the line that holds `needle`."""
        line = text[:text.index(needle)].count("\n") + 1
        return rf"\.yaml:{line}:\d+"

    def test_an_unknown_field_is_named_with_its_place_and_a_suggestion(self):
        text = quick_start(1, 2, 3).replace("connect_timeout", "conect_timeout")
        self.refused(text, self.place(text, "conect_timeout"), "conect_timeout", "did you mean.*connect_timeout")

    def test_an_unknown_enum_value(self):
        text = quick_start(1, 2, 3).replace("ROUND_ROBIN", "ROUND_ROBBIN")
        self.refused(text, self.place(text, "ROUND_ROBBIN"), "ROUND_ROBIN")

    def test_an_unknown_type_url(self):
        text = quick_start(1, 2, 3).replace("v3.HttpConnectionManager", "v3.HttpConnectionManagr")
        self.refused(text, self.place(text, "HttpConnectionManagr"), "did you mean.*HttpConnectionManager")

    def test_all_errors_at_once(self):
        text = quick_start(1, 2, 3).replace("connect_timeout", "conect_timeout").replace("codec_type", "codek_type")
        self.refused(text, "conect_timeout", "codek_type")

    def test_a_wrong_type_of_value(self):
        text = quick_start(1, 2, 3).replace("0.25s", "soon")
        self.refused(text, self.place(text, "soon"), "connect_timeout")

    def test_a_validation_rule(self):
        text = quick_start(1, 70000, 3)
        self.refused(text, self.place(text, "70000"), "port_value")

    def test_a_missing_required_field(self):
        text = quick_start(1, 2, 3).replace("          stat_prefix: ingress_http\n", "")
        self.refused(text, "stat_prefix")

    def test_a_field_that_is_known_but_not_supported_says_so(self):
        text = quick_start(1, 2, 3).replace("ROUND_ROBIN", "RING_HASH")
        self.refused(text, "known to Envoy, not supported by Millrace yet")

    def test_a_route_to_a_cluster_that_is_not_there(self):
        text = quick_start(1, 2, 3).replace("cluster: some_service }", "cluster: other_service }")
        self.refused(text, "other_service")

    def test_the_same_domain_twice(self):
        vhost = 'name: {}\ndomains: ["*"]\nroutes: [{{ match: {{ prefix: "/" }}, direct_response: {{ status: 200 }} }}]'
        text = configs.bootstrap(1, [configs.listener(2, configs.hcm(
            virtual_hosts=[vhost.format("a"), vhost.format("b")]))])
        self.refused(text, r"\.yaml:\d+:\d+", r"\*")

    def test_an_address_that_is_a_string(self):
        text = 'admin: { address: ":9001" }\n'
        self.refused(text, r"\.yaml:1:\d+", "address")

    def test_a_placeholder(self):
        text = quick_start(1, 2, 3).replace("              routes:\n", "              ...\n              routes:\n")
        self.refused(text, r"\.yaml:\d+:\d+")

    def test_broken_yaml(self):
        self.refused("admin: {\n", r"\.yaml:\d+:\d+")
        self.refused("a: b: c\n", r"\.yaml:\d+:\d+")

    def test_a_bad_regex(self):
        text = quick_start(1, 2, 3).replace('prefix: "/"', 'safe_regex: { regex: "(" }')
        self.refused(text, self.place(text, "safe_regex"))

    def test_a_file_that_is_not_there(self):
        outcome = run("--mode", "validate", "-c", "/nonexistent/file.yaml")
        self.assertEqual(outcome.code, 1)
        self.assertIn("/nonexistent/file.yaml", outcome.text)

    def test_unknown_static_fields_may_be_allowed(self):
        text = quick_start(1, 2, 3).replace("    connect_timeout", "    new_field: 1\n    connect_timeout")
        self.refused(text, "new_field")
        self.assertEqual(validate(text, "--allow-unknown-static-fields").code, 0)


class AcceptedTest(ProxyCase):
    def test_the_usual_quick_start_runs_as_it_is(self):
        server = self.upstream(upstream.answer(b"served"))
        port, admin = free_port(), free_port()
        proxy = self.enterContext(Proxy(quick_start(port, server.port, admin), admin))
        self.assertEqual(get(port).body, b"served")
        self.assertRegex(proxy.log(), r"http_filters\[0\].*typed_config", "a warning names the place")

    def test_validate_mode_accepts_and_opens_no_socket(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            outcome = validate(quick_start(taken.getsockname()[1], 2, taken.getsockname()[1]))
        self.assertEqual(outcome.code, 0, outcome.text)
        self.assertIn("OK", outcome.text)

    def test_leniency_of_envoys_loader(self):
        for name, old, new in (
                ("camel case", "connect_timeout: 0.25s", "connectTimeout: 0.25s"),
                ("enum in lower case", "ROUND_ROBIN", "round_robin"),
                ("one object for a list", 'domains: ["*"]', 'domains: "*"'),
                ("other file kinds' quoting", "port_value: 2", 'port_value: "2"')):
            with self.subTest(name):
                outcome = validate(quick_start(1, 2, 3).replace(old, new))
                self.assertEqual(outcome.code, 0, outcome.text)

    def test_anchors_and_ignored_keys(self):
        text = quick_start(1, 2, 3).replace("connect_timeout: 0.25s", "connect_timeout: *soon")
        outcome = validate("!ignore defaults: &soon 0.25s\n" + text)
        self.assertEqual(outcome.code, 0, outcome.text)

    def test_json(self):
        config = {"static_resources": {"clusters": [{"name": "a", "type": "STATIC", "connect_timeout": "1s"}]}}
        self.assertEqual(validate(json.dumps(config), suffix=".json").code, 0)

    def test_text_protobuf(self):
        outcome = validate('static_resources { clusters { name: "a" type: STATIC connect_timeout { seconds: 1 } } }',
                           suffix=".pb_text")
        self.assertEqual(outcome.code, 0, outcome.text)

    def test_config_yaml_is_merged_over_the_file(self):
        server = self.upstream(upstream.answer(b"served"))
        port, admin = free_port(), free_port()
        over = f"admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {admin} }} }} }}"
        self.enterContext(Proxy(quick_start(port, server.port, free_port()), admin, "--config-yaml", over))
        self.assertEqual(get(port).body, b"served")

    def test_a_typed_struct_is_unwrapped(self):
        wrapped = configs.ROUTER.replace(f'"@type": {configs.TYPES}.extensions.filters.http.router.v3.Router', (
            '"@type": type.googleapis.com/xds.type.v3.TypedStruct\n'
            f"  type_url: {configs.TYPES}.extensions.filters.http.router.v3.Router\n  value: {{}}"))
        self.assertEqual(get(self.http(configs.direct(), http_filters=[wrapped]).port).status, 200)

    def test_a_listener_of_several_addresses_answers_on_each(self):
        other = free_port()
        proxy = self.http(configs.direct(), listener_extra=(
            "additional_addresses:\n"
            f"- address: {{ socket_address: {{ address: 127.0.0.2, port_value: {other} }} }}"))
        self.assertEqual(get(proxy.port).status, 200)
        self.assertEqual(self.client(other, host="127.0.0.2").request().status, 200)
        self.assertIn(f"front::127.0.0.2:{other}", proxy.admin("/listeners")[1])

    def test_the_admin_log_of_the_quick_start_is_written(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "admin.log")
            admin = free_port()
            text = quick_start(free_port(), free_port(), admin).replace("/dev/null", path)
            proxy = self.enterContext(Proxy(text, admin))
            proxy.admin("/help")
            proxy.signal(signal.SIGTERM)
            proxy.wait_exit()
            with open(path, encoding="utf-8") as f:
                self.assertRegex(f.read(), r'"GET /help HTTP/1\.1" 200')


class RuntimeTest(ProxyCase):
    """Static layers of the runtime: the keys that are read, and /runtime."""

    def limited(self, runtime, listener_extra=""):
        layer = f"layered_runtime: {{ layers: [ {{ name: fixed, static_layer: {runtime} }} ] }}"
        return self.start([lambda port: configs.listener(port, configs.hcm(configs.direct()), extra=listener_extra)],
                          extra=layer)

    def expect_one_connection(self, proxy, counter):
        first = self.client(proxy.port)
        self.assertEqual(first.request().status, 200)
        self.assertTrue(self.client(proxy.port).is_closed())
        proxy.wait_stat(f"listener.127.0.0.1_{proxy.port}.{counter}", 1)
        self.assertEqual(first.request().status, 200, "the first one stays")
        first.close()
        proxy.wait_stat(f"listener.127.0.0.1_{proxy.port}.downstream_cx_active", 0)
        self.assertEqual(get(proxy.port).status, 200)

    def test_connections_of_a_listener_are_limited(self):
        self.expect_one_connection(self.limited("{ envoy.resource_limits.listener.front.connection_limit: 1 }"),
                                   "downstream_cx_overflow")

    def test_connections_of_the_process_are_limited(self):
        self.expect_one_connection(self.limited("{ overload: { global_downstream_max_connections: 1 } }"),
                                   "downstream_global_cx_overflow")

    def test_a_listener_may_ignore_the_limit_of_the_process(self):
        proxy = self.limited("{ overload.global_downstream_max_connections: 1 }", "ignore_global_conn_limit: true")
        first, second = self.client(proxy.port), self.client(proxy.port)
        self.assertEqual((first.request().status, second.request().status), (200, 200))

    def test_the_runtime_page_shows_the_layers(self):
        shown = self.limited("{ a: { b: 1 }, c: text }").admin_json("/runtime")
        self.assertEqual(shown["layers"], ["fixed"])
        self.assertEqual(shown["entries"]["a.b"]["final_value"], "1")
        self.assertEqual(shown["entries"]["c"]["layer_values"], ["text"])


class FlagsTest(unittest.TestCase):
    def test_version_and_help(self):
        outcome = run("--version")
        self.assertEqual(outcome.code, 0)
        self.assertRegex(outcome.out, r"\d+\.\d+\.\d+")
        outcome = run("--help")
        self.assertEqual(outcome.code, 0)
        for flag in ("--config-path", "--config-yaml", "--mode", "--concurrency", "--log-level", "--log-path",
                     "--admin-address-path", "--service-node", "--service-cluster", "--service-zone",
                     "--drain-time-s", "--allow-unknown-static-fields"):
            self.assertIn(flag, outcome.out)

    def test_the_readme_names_flags_that_exist(self):
        with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
            section = f.read().split("## Flags")[1].split("\n## ")[0]
        there = run("--help").out
        for flag in set(re.findall(r"`(--[a-z-]+)", section)):
            self.assertIn(flag, there)

    def test_an_unknown_flag_is_refused(self):
        outcome = run("--no-such-flag")
        self.assertNotEqual(outcome.code, 0)
        self.assertIn("no-such-flag", outcome.text)

    def test_without_a_configuration_it_says_what_is_missing(self):
        outcome = run()
        self.assertNotEqual(outcome.code, 0)
        self.assertRegex(outcome.text, re.compile("config", re.IGNORECASE))

    def test_a_port_in_use_is_a_clear_error(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with self.assertRaises(AssertionError):
                Proxy(configs.bootstrap(free_port(), [configs.listener(port, configs.hcm(configs.direct()))]), 1)
