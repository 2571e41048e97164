"""HTTP/1.1 from wrk through a proxy to a backend, both local: what short-circuited hops save of it."""
from support import proxies
from support.kernel_paths import FastPath, counters, demand, started
from support.local_paths import Path, Unavailable
from support.measure import load, wrk

CONNECTIONS = 32
BODY = "/64"


class HttpPath(Path):
    """Base: wrk asks the backend itself. Every path has a backend of its own; idle ones cost nothing."""

    backend = None

    def set_up(self):
        self.backend = self.stack.enter_context(proxies.backend(self.cgroup))
        self.port = self.backend.port

    def try_out(self):
        """Warms pools and caches."""
        try:
            self.sample(1)
        except RuntimeError as why:
            raise Unavailable(f"the trial failed: {why}") from why

    def sample(self, seconds):
        url = f"http://127.0.0.1:{self.port}{BODY}"
        seconds = max(1, round(seconds))  # wrk knows whole seconds only
        if not self.programs:
            result = wrk(url, CONNECTIONS, seconds)
            result |= {"requests_per_s": result["requests"] * 1e6 / result["duration_us"], "cpu_us_per_request": 0.0}
        else:
            result = load(self.programs[0], url, CONNECTIONS, seconds, cgroup=self.cgroup)
        if result["errors"]:
            raise RuntimeError(f"{self.name}: {result['errors']} requests failed")
        return {"p50_us": result["p50_us"], "p99_us": result["p99_us"], "per_s": result["requests_per_s"],
                "proxy_cpu_us_each": result["cpu_us_per_request"]}


class HttpThroughProxy(HttpPath):
    def set_up(self):
        super().set_up()
        self.port = self.run_program(self.make()).port

    def make(self):
        raise NotImplementedError


class HttpMillrace(HttpThroughProxy):
    name = "millrace"

    def make(self):
        return proxies.millrace(self.backend.port, "http")


class HttpHops(HttpThroughProxy):
    """wrk and the proxy, and the proxy and the backend, hand each other messages."""
    name = "hop"

    def set_up(self):
        self.fast_path = FastPath("http-hop", self.stack)
        self.cgroup = self.fast_path.cgroup
        super().set_up()

    def try_out(self):
        super().try_out()
        demand(self.programs[0], "redirected_hop")

    def counters(self):
        return counters(self.programs[0])

    def make(self):
        return started(proxies.millrace, self.backend.port, "http", extension=self.fast_path.short_circuit(),
                       cgroup=self.cgroup)


class HttpHaproxy(HttpThroughProxy):
    name = "haproxy"

    def make(self):
        return proxies.haproxy(self.backend.port, "http")


class HttpNginx(HttpThroughProxy):
    name = "nginx"

    def make(self):
        return proxies.nginx(self.backend.port, "http")


HTTP_PATHS = [HttpPath, HttpMillrace, HttpHops, HttpHaproxy, HttpNginx]
