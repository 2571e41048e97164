"""The proxies under measurement, configured alike: one worker, connections kept alive on both sides, no access log.

Each function starts one between `port` and the backend and returns its Program; `mode` is "http" or "tcp", or "h2"
(HTTP/2 without TLS from the client, HTTP/1 to the backend) or "h2h2" (HTTP/2 on both sides; gRPC only where that is
nginx). With `credentials` clients come over TLS, with AES-128-GCM as the only cipher, so that none is measured with a
dearer one than another; Millrace's default prefers it.
"""
import os
import socket
import urllib.request
from textwrap import indent

from support.measure import LOAD_CPU, ROOT, Program

NGINX_STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"
MILLRACE = os.path.join(ROOT, "build", "millrace")
TYPES = "type.googleapis.com/envoy"
CIPHER_12, CIPHER_13 = "ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256"


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def ready(admin_port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/ready", timeout=1) as response:
            return response.status == 200
    except OSError:
        return False


def backend(cgroup=None):
    port = free_port()
    program = Program("backend", [os.path.join(ROOT, "build", "bench", "bench_backend"), str(port)], cpu=LOAD_CPU,
                      cgroup=cgroup)
    program.wait_ready(lambda: accepts(port))
    program.port = port
    return program


def h2_backend():
    """nghttpd with a file of 64 bytes."""
    port = free_port()
    program = Program("nghttpd", ["nghttpd", "--no-tls", "-d", ".", "-n1", str(port)], {"64": "x" * 64}, cpu=LOAD_CPU)
    program.wait_ready(lambda: accepts(port))
    program.port = port
    return program


def grpc_backend(path, message):
    """nghttpd, which answers that path with one gRPC message and grpc-status 0 in its trailers."""
    port = free_port()
    program = Program("nghttpd", ["nghttpd", "--no-tls", "-d", ".", "-n1", "--trailer", "grpc-status: 0",
                                  "--no-content-length", "--mime-types-file=mime.types", str(port)],
                      {"mime.types": "application/grpc grpc\n", path: message}, cpu=LOAD_CPU)
    program.wait_ready(lambda: accepts(port))
    program.port = port
    return program


def nginx(backend_port, mode, credentials=None):
    port = free_port()
    if mode != "tcp":
        tls = "" if credentials is None else f"""
  ssl_certificate {credentials.chain}; ssl_certificate_key {credentials.key}; ssl_protocols TLSv1.2 TLSv1.3;
  ssl_ciphers {CIPHER_12}; ssl_conf_command Ciphersuites {CIPHER_13};
  ssl_session_cache shared:sessions:16m; ssl_session_timeout 1h;"""
        forward = 'proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection "";'
        if mode == "h2h2":
            forward = "grpc_pass grpc://up;"
        inside = f"""
http {{
  access_log off; sendfile on; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 1h;
  client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  upstream up {{ server 127.0.0.1:{backend_port}; keepalive 1024; keepalive_requests 1000000000; }}{tls}
  server {{
    listen 127.0.0.1:{port} backlog=4096{" ssl" if tls else ""}{"" if mode == "http" else " http2"};
    http2_max_concurrent_streams 1024;
    location / {{
      {forward}
      proxy_buffers 64 16k; proxy_buffer_size 16k; proxy_max_temp_file_size 0;
    }}
  }}
}}"""
    else:
        inside = f"""
stream {{
  access_log off;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    proxy_pass 127.0.0.1:{backend_port}; proxy_buffer_size 64k; proxy_half_close on;
  }}
}}"""
    module = f"load_module {NGINX_STREAM};" if mode == "tcp" else ""
    config = f"""
{module}
daemon off; pid nginx.pid; worker_processes 1; error_log stderr crit; worker_rlimit_nofile 20000;
events {{ worker_connections 16384; multi_accept on; }}
{inside}
"""
    program = Program("nginx", ["nginx", "-p", ".", "-c", "nginx.conf", "-e", "stderr"], {"nginx.conf": config})
    program.port = port
    program.startup_s = program.wait_ready(lambda: accepts(port))
    return program


def haproxy(backend_port, mode, splice=False, credentials=None):
    port = free_port()
    from_client, ciphers = "proto h2" if mode in ("h2", "h2h2") else "", ""
    if credentials is not None:
        ciphers = f"ssl-default-bind-ciphers {CIPHER_12}\n  ssl-default-bind-ciphersuites {CIPHER_13}"
        from_client = f"ssl crt {credentials.both} alpn {'h2' if from_client else 'http/1.1'}"
    config = f"""
global
  nbthread 1
  maxconn 6000
  maxpipes 1000
  {ciphers}
defaults
  mode {"tcp" if mode == "tcp" else "http"}
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  {"option splice-auto" if splice else ""}
frontend f
  bind 127.0.0.1:{port} backlog 4096 {from_client}
  default_backend b
backend b
  {"http-reuse always" if mode != "tcp" else ""}
  server s 127.0.0.1:{backend_port} {"proto h2" if mode == "h2h2" else ""}
"""
    program = Program("haproxy splice" if splice else "haproxy", ["haproxy", "-db", "-f", "haproxy.cfg"],
                      {"haproxy.cfg": config})
    program.port = port
    program.startup_s = program.wait_ready(lambda: accepts(port))
    return program


def nghttpx(backend_port, mode):
    port = free_port()
    program = Program("nghttpx", ["nghttpx", f"-f127.0.0.1,{port};no-tls",
                                  f"-b127.0.0.1,{backend_port}{';;proto=h2' if mode == 'h2h2' else ''}",
                                  "--workers=1", "--log-level=FATAL", "--backend-connections-per-host=1024",
                                  "--conf=/dev/null", "--frontend-http2-max-concurrent-streams=1024"])
    program.port = port
    program.startup_s = program.wait_ready(lambda: accepts(port))
    return program


UPSTREAM_HTTP2 = f"""
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": {TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ http2_protocol_options: {{}} }}"""


def millrace_tls(credentials, alpn):
    return f"""\
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": {TYPES}.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: ["{alpn}"]
            tls_certificates:
            - certificate_chain: {{ filename: {credentials.chain} }}
              private_key: {{ filename: {credentials.key} }}
"""


def millrace_config(port, admin_port, backend_port, mode, more_clusters=0, listener="", extension="", credentials=None):
    if mode != "tcp":
        network_filter = f"""\
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{ match: {{ prefix: "/" }}, route: {{ cluster: up }} }}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": {TYPES}.extensions.filters.http.router.v3.Router }}"""
    else:
        network_filter = f"""\
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": {TYPES}.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: front
          cluster: up"""
    clusters = "\n".join(f"""\
  - name: {name}
    type: STATIC
    connect_timeout: 1s{UPSTREAM_HTTP2 if mode == "h2h2" else ""}
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {backend_port} }} }} }}"""
                         for name in ["up"] + [f"c{i}" for i in range(more_clusters)])
    alpn = "http/1.1" if mode == "http" else "h2"
    return f"""\
{extension}
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {admin_port} }} }} }}
static_resources:
  listeners:
  - name: front
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
{indent(listener, " " * 4)}
    filter_chains:
    - filters:
{network_filter}
{millrace_tls(credentials, alpn) if credentials else ""}
  clusters:
{clusters}
"""


def millrace(backend_port, mode, more_clusters=0, listener="", extension="", cgroup=None, credentials=None):
    """`listener`: more fields of the listener, which is called front; `extension`: more of the bootstrap."""
    port, admin_port = free_port(), free_port()
    config = millrace_config(port, admin_port, backend_port, mode, more_clusters, listener, extension, credentials)
    program = Program("millrace", [MILLRACE, "-c", "millrace.yaml", "--concurrency", "1", "-l", "warn"],
                      {"millrace.yaml": config}, cgroup=cgroup)
    program.port, program.admin_port = port, admin_port
    program.startup_s = program.wait_ready(lambda: ready(admin_port))
    return program
