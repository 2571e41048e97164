"""The admin listener: pages, stats, Prometheus text, actions."""
import json
import re
import threading
import time

from support import configs, upstream
from support.case import ProxyCase
from support.http1 import Client, get

CLUSTERS = 10000


class AdminTest(ProxyCase):
    def test_pages_answer(self):
        proxy = self.http_to(self.upstream(upstream.answer()))
        for path in ("/", "/help", "/ready", "/server_info", "/stats", "/stats?format=json", "/stats/prometheus",
                     "/clusters", "/clusters?format=json", "/listeners", "/listeners?format=json", "/config_dump",
                     "/memory"):
            with self.subTest(path):
                status, body = proxy.admin(path)
                self.assertEqual(status, 200)
                self.assertTrue(body)
                if "json" in path or path in ("/server_info", "/config_dump", "/memory"):
                    json.loads(body)

    def test_an_unknown_page_is_a_404_that_helps(self):
        status, body = self.http(configs.direct()).admin("/nonsense")
        self.assertEqual(status, 404)
        self.assertIn("/stats", body)

    def test_ready_says_live(self):
        self.assertEqual(self.http(configs.direct()).admin("/ready"), (200, "LIVE\n"))

    def test_changes_need_post(self):
        proxy = self.http(configs.direct())
        for path in ("/reset_counters", "/healthcheck/fail", "/quitquitquit", "/drain_listeners",
                     "/logging?level=info"):
            with self.subTest(path):
                self.assertEqual(proxy.admin(path)[0], 405)
        self.assertEqual(proxy.admin("/ready")[0], 200)

    def test_server_info(self):
        proxy = self.http(configs.direct(), flags=["--service-node", "n1", "--service-cluster", "c1"],
                          options={"concurrency": 2})
        info = proxy.admin_json("/server_info")
        self.assertEqual(info["state"], "LIVE")
        self.assertTrue(info["version"])
        options = info["command_line_options"]
        self.assertEqual((options["concurrency"], options["mode"]), (2, "Serve"))
        self.assertEqual((info["node"]["id"], info["node"]["cluster"]), ("n1", "c1"))

    def test_stats_filters(self):
        proxy = self.http(configs.direct())
        get(proxy.port)
        proxy.wait_stat("http.front.downstream_rq_2xx", 1)
        _, text = proxy.admin("/stats?filter=^http\\.front\\.downstream_rq_2xx$")
        self.assertEqual(text, "http.front.downstream_rq_2xx: 1\n")
        _, used = proxy.admin("/stats?usedonly")
        self.assertIn("http.front.downstream_rq_2xx: 1\n", used)
        self.assertNotIn("http.front.downstream_rq_5xx", used)
        found = proxy.admin_json("/stats?format=json&filter=downstream_rq_2xx")
        self.assertIn({"name": "http.front.downstream_rq_2xx", "value": 1}, found["stats"])

    def test_stats_are_listed_once_and_a_bad_filter_is_refused(self):
        proxy = self.http(configs.direct())
        names = [line.partition(": ")[0] for line in proxy.admin("/stats?type=Counters")[1].splitlines()]
        self.assertGreater(len(names), 100)
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual(proxy.admin("/stats?filter=%5B")[0], 400)

    def test_envoys_names_are_there(self):
        proxy = self.http_to(self.upstream(upstream.answer()))
        get(proxy.port)
        proxy.wait_stat("http.front.downstream_rq_completed", 1)
        stats = proxy.stats()
        listener = f"listener.127.0.0.1_{proxy.port}"
        for name in ("http.front.downstream_cx_total", "http.front.downstream_cx_active",
                     "http.front.downstream_cx_http1_total", "http.front.downstream_rq_total",
                     "http.front.downstream_rq_http1_total", "http.front.downstream_rq_active",
                     "http.front.downstream_rq_2xx", "http.front.downstream_rq_4xx", "http.front.downstream_rq_5xx",
                     "http.front.downstream_cx_rx_bytes_total", "http.front.downstream_cx_tx_bytes_total",
                     "cluster.up.upstream_cx_total", "cluster.up.upstream_cx_active", "cluster.up.upstream_rq_total",
                     "cluster.up.upstream_rq_active", "cluster.up.upstream_rq_pending_total",
                     "cluster.up.upstream_rq_2xx", "cluster.up.upstream_rq_200", "cluster.up.membership_total",
                     "cluster.up.membership_healthy", f"{listener}.downstream_cx_total",
                     f"{listener}.downstream_cx_active", "listener_manager.total_listeners_active",
                     "cluster_manager.active_clusters", "server.live", "server.concurrency", "server.state"):
            with self.subTest(name):
                self.assertIn(name, stats)

    def test_prometheus_text(self):
        proxy = self.http_to(self.upstream(upstream.answer()))
        get(proxy.port)
        proxy.wait_stat("cluster.up.upstream_rq_200", 1)
        _, text = proxy.admin("/stats/prometheus")
        samples = {(name, *sorted(labels.split(","))): value for name, labels, value in
                   re.findall(r"^(\w+)\{(.*?)\} (\S+)$", text, re.MULTILINE)}
        for name, *labels in (("envoy_cluster_upstream_cx_total", 'envoy_cluster_name="up"'),
                              ("envoy_cluster_upstream_rq", 'envoy_cluster_name="up"', 'envoy_response_code="200"'),
                              ("envoy_cluster_upstream_rq_xx", 'envoy_cluster_name="up"',
                               'envoy_response_code_class="2"'),
                              ("envoy_http_downstream_rq_xx", 'envoy_http_conn_manager_prefix="front"',
                               'envoy_response_code_class="2"')):
            with self.subTest(name):
                self.assertEqual(samples.get((name, *labels)), "1")
        for line in ("# TYPE envoy_cluster_upstream_cx_total counter", "# TYPE envoy_cluster_upstream_cx_active gauge",
                     "# TYPE envoy_cluster_upstream_rq_time histogram"):
            with self.subTest(line):
                self.assertIn(line + "\n", text)
        buckets = re.findall(r'envoy_cluster_upstream_rq_time_bucket\{.*?le="([^"]+)"\} (\d+)', text)
        self.assertEqual(buckets[-1], ("+Inf", "1"))
        counts = [int(count) for _, count in buckets]
        self.assertEqual(counts, sorted(counts), "buckets are cumulative")
        self.assertEqual(len(re.findall(r"# TYPE envoy_cluster_upstream_cx_total ", text)), 1)

    def test_reset_counters(self):
        proxy = self.http(configs.direct())
        get(proxy.port)
        proxy.wait_stat("http.front.downstream_rq_2xx", 1)
        self.assertEqual(proxy.admin("/reset_counters", "POST"), (200, "OK\n"))
        proxy.wait_stat("http.front.downstream_rq_2xx", 0)

    def test_healthcheck_fail_and_ok(self):
        proxy = self.http(configs.direct())
        self.assertEqual(proxy.admin("/healthcheck/fail", "POST"), (200, "OK\n"))
        self.assertEqual(proxy.admin("/ready"), (503, "DRAINING\n"))
        client = self.client(proxy.port)
        self.assertEqual(client.request()["connection"], "close")
        self.assertEqual(proxy.admin("/healthcheck/ok", "POST"), (200, "OK\n"))
        self.assertEqual(proxy.admin("/ready")[0], 200)
        self.assertIsNone(get(proxy.port)["connection"])

    def test_clusters_and_listeners(self):
        server = self.upstream(upstream.answer())
        proxy = self.http_to(server)
        get(proxy.port)
        proxy.wait_stat("cluster.up.upstream_rq_200", 1)
        host = f"up::127.0.0.1:{server.port}::"
        _, text = proxy.admin("/clusters")
        for line in (f"{host}cx_total::1", f"{host}rq_success::1", f"{host}health_flags::healthy", f"{host}weight::1",
                     "up::default_priority::max_connections::1024", "up::high_priority::max_requests::1024"):
            with self.subTest(line):
                self.assertIn(line + "\n", text)
        cluster = proxy.admin_json("/clusters?format=json")["cluster_statuses"][0]
        self.assertEqual(cluster["name"], "up")
        self.assertEqual(cluster["host_statuses"][0]["address"]["socket_address"]["port_value"], server.port)
        self.assertEqual(proxy.admin("/listeners")[1], f"front::127.0.0.1:{proxy.port}\n")

    def test_config_dump_shows_what_was_loaded(self):
        text = json.dumps(self.http_to(self.upstream(upstream.answer())).admin_json("/config_dump"))
        for part in ("type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "http_connection_manager", '"up"'):
            self.assertIn(part, text)

    def test_config_dump_of_one_resource_by_name_and_mask(self):
        proxy = self.http(configs.direct(), clusters=[configs.cluster(name, 1) for name in ("a1", "a2", "b")])

        def dump(query):
            return proxy.admin_json("/config_dump?" + query).get("configs", [])
        names = [c["cluster"]["name"] for c in dump("resource=static_clusters&name_regex=a.&mask=cluster.name")]
        self.assertEqual(names, ["a1", "a2"])
        self.assertNotIn("load_assignment", dump("resource=static_clusters&mask=cluster.name")[0]["cluster"])
        self.assertEqual([c["@type"].rpartition(".")[2] for c in dump("mask=static_listeners")],
                         ["ListenersConfigDump"])
        for query, status, text in (
                ("resource=bootstrap", 400, "bootstrap is not a repeated field. Use ?mask=bootstrap to get only this"),
                ("resource=static_clusters&mask=cluster.x", 400, "could not be successfully used"),
                ("mask=x", 400, "could not be successfully applied to any configs"),
                ("name_regex=(", 400, "Error while parsing name_regex from ("),
                ("resource=x", 404, "x not found in config dump")):
            with self.subTest(query):
                answer = proxy.admin("/config_dump?" + query)
                self.assertEqual(answer[0], status)
                self.assertIn(text, answer[1])

    def test_a_long_config_dump_does_not_stall_ready(self):
        proxy = self.http(configs.direct(), clusters=[configs.cluster(f"c{i}", 1) for i in range(CLUSTERS)])
        done = threading.Event()
        dumps = []

        def dump():
            dumps.append(proxy.admin("/config_dump"))
            done.set()
        dumper = threading.Thread(target=dump)
        took = []
        client = self.client(proxy.admin_port)
        client.request(target="/ready")
        dumper.start()
        try:
            while not done.is_set():
                start = time.monotonic()
                self.assertEqual(client.request(target="/ready").status, 200)
                took.append(time.monotonic() - start)
        finally:
            dumper.join()
        self.assertEqual(dumps[0][0], 200)
        self.assertEqual(len(json.loads(dumps[0][1])["configs"][1]["static_clusters"]), CLUSTERS)
        # The whole takes most of a second; made in one piece, /ready would answer a few times at most.
        self.assertGreater(len(took), 20)
        self.assertLess(sorted(took)[len(took) // 2], 0.1)
        print(f"/ready while a dump is under way: {len(took)} answers, median "
              f"{sorted(took)[len(took) // 2] * 1e3:.1f} ms, slowest {max(took) * 1e3:.1f} ms")

    def test_logging_levels(self):
        proxy = self.http(configs.direct())
        self.assertEqual(proxy.admin("/logging", "POST")[0], 200)
        self.assertEqual(proxy.admin("/logging?level=debug", "POST")[0], 200)
        self.assertEqual(proxy.admin("/logging?level=nonsense", "POST")[0], 400)

    def test_quitquitquit(self):
        proxy = self.http(configs.direct())
        self.assertEqual(proxy.admin("/quitquitquit", "POST"), (200, "OK\n"))
        self.assertEqual(proxy.wait_exit(), 0)

    def test_drain_listeners(self):
        proxy = self.http(configs.direct())
        client = self.client(proxy.port)
        self.assertEqual(client.request().status, 200)
        self.assertEqual(proxy.admin("/drain_listeners", "POST"), (200, "OK\n"))

        def refused():
            try:
                Client(proxy.port, timeout_s=1).close()
                return False
            except OSError:
                return True
        self.wait_until(refused, "new connections are refused")
        self.assertEqual(proxy.admin("/ready")[0] in (200, 503), True)

    def test_the_address_is_written_to_a_file(self):
        proxy = self.http(configs.direct(), flags=["--admin-address-path", "admin.txt"])
        self.assertEqual(proxy.process.read("admin.txt").strip(), f"127.0.0.1:{proxy.admin_port}")

    def test_a_long_scrape_stalls_neither_requests_nor_ready(self):
        clusters = [configs.cluster(f"c{i}", 1) for i in range(300)]
        proxy = self.http(configs.direct(), clusters=clusters)
        slowest = []
        stop = threading.Event()

        def scrape():
            while not stop.is_set():
                proxy.admin("/stats/prometheus")
        scraper = threading.Thread(target=scrape)
        scraper.start()
        try:
            client = self.client(proxy.port)
            for _ in range(50):
                start = time.monotonic()
                self.assertEqual(client.request().status, 200)
                self.assertEqual(proxy.admin("/ready")[0], 200)
                slowest.append(time.monotonic() - start)
        finally:
            stop.set()
            scraper.join()
        # Generous, as machines that run tests are busy: a stalled main thread shows as seconds.
        self.assertLess(sorted(slowest)[len(slowest) // 2], 2.0)
