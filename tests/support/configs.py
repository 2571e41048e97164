"""Envoy v3 configurations as YAML text, put together from small pieces. Every piece is complete YAML of its own."""
import os
import textwrap

from support.ports import free_port

EXAMPLES = os.path.join(os.path.dirname(__file__), "..", "..", "config", "examples")

ROUTER = """\
name: envoy.filters.http.router
typed_config:
  "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
"""
TYPES = "type.googleapis.com/envoy"


def _indent(text, spaces):
    return textwrap.indent(textwrap.dedent(text).strip("\n"), " " * spaces)


def _items(pieces, spaces):
    """A YAML list, each item given as text."""
    return "\n".join(" " * spaces + "- " + _indent(piece, spaces + 2).lstrip() for piece in pieces)


def bootstrap(admin_port, listeners=(), clusters=(), extra=""):
    return "\n".join([
        "admin:",
        f"  address: {{ socket_address: {{ address: 127.0.0.1, port_value: {admin_port} }} }}",
        "static_resources:",
        "  listeners:" if listeners else "  listeners: []", _items(listeners, 2),
        "  clusters:" if clusters else "  clusters: []", _items(clusters, 2),
        textwrap.dedent(extra).strip("\n"), ""])


def quick_start():
    """config/examples/quickstart.yaml on free ports: its text, the port of its front, that of its admin."""
    with open(os.path.join(EXAMPLES, "quickstart.yaml"), encoding="utf-8") as f:
        text = f.read()
    ports = {old: free_port() for old in (10000, 10001, 10002, 9901)}
    for old, new in ports.items():
        text = text.replace(f"port_value: {old} ", f"port_value: {new} ")
    return text, ports[10000], ports[9901]


def cluster(name, *ports, extra=""):
    """A STATIC cluster of endpoints on 127.0.0.1; a port may be (port, weight)."""
    endpoints = []
    for port in ports:
        port, weight = port if isinstance(port, tuple) else (port, None)
        address = f"endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }}"
        endpoints.append(address if weight is None else f"{address}\nload_balancing_weight: {weight}")
    return "\n".join([
        f"name: {name}", "type: STATIC", "connect_timeout: 1s",
        "load_assignment:", f"  cluster_name: {name}",
        "  endpoints:" if ports else "  endpoints: []",
        "  - lb_endpoints:" if ports else "", _items(endpoints, 4), _indent(extra, 0)])


# What a cluster connects by: plain TCP after a PROXY header.
PROXY_HEADER_TRANSPORT = f"""
transport_socket:
  name: p
  typed_config:
    "@type": {TYPES}.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport
    config: {{ version: V1 }}
    transport_socket: {{ name: envoy.transport_sockets.raw_buffer }}
"""


def original_dst_cluster(name, config="", extra=""):
    """An ORIGINAL_DST cluster; `config` is the inside of its original_dst_lb_config."""
    return "\n".join([
        f"name: {name}", "type: ORIGINAL_DST", "lb_policy: CLUSTER_PROVIDED", "connect_timeout: 1s",
        *([f"original_dst_lb_config: {{ {config} }}"] if config else []), _indent(extra, 0)])


ORIGINAL_DST_FILTER = f"""\
listener_filters:
- name: envoy.filters.listener.original_dst
  typed_config:
    "@type": {TYPES}.extensions.filters.listener.original_dst.v3.OriginalDst
"""


def listener(port, *filters, name="front", extra="", access_log=(), address="127.0.0.1", chain="",
             more_chains=()):
    """`chain` adds to the filter chain of the filters, `more_chains` are others as filter_chain() gives them."""
    return "\n".join([
        f"name: {name}",
        f"address: {{ socket_address: {{ address: \"{address}\", port_value: {port} }} }}",
        "filter_chains:", "- filters:", _items(filters, 2), _indent(chain, 2), _items(more_chains, 0),
        *(["access_log:", _items(access_log, 0)] if access_log else []),
        _indent(extra, 0)])


def filter_chain(*filters, extra=""):
    return "\n".join(["filters:", _items(filters, 0), _indent(extra, 0)])


def _certificate(pair, spaces):
    return _indent(f"- certificate_chain: {{ filename: {pair[0]} }}\n  private_key: {{ filename: {pair[1]} }}", spaces)


def downstream_tls(*pairs, common="", extra=""):
    """A transport_socket of a filter chain; pairs of (chain file, key file)."""
    return "\n".join([
        "transport_socket:", "  name: envoy.transport_sockets.tls", "  typed_config:",
        f'    "@type": {TYPES}.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
        _indent(extra, 4), "    common_tls_context:",
        *(["      tls_certificates:"] if pairs else []), *[_certificate(pair, 6) for pair in pairs],
        _indent(common, 6)])


def upstream_tls(ca=None, extra="", common="", pair=None):
    """A transport_socket of a cluster that trusts an authority's file."""
    trust = f"validation_context: {{ trusted_ca: {{ filename: {ca} }} }}" if ca else ""
    return "\n".join([
        "transport_socket:", "  name: envoy.transport_sockets.tls", "  typed_config:",
        f'    "@type": {TYPES}.extensions.transport_sockets.tls.v3.UpstreamTlsContext',
        _indent(extra, 4), "    common_tls_context:" if pair or trust or common else "",
        *(["      tls_certificates:", _certificate(pair, 6)] if pair else []),
        _indent(trust, 6), _indent(common, 6)])


def hcm(*routes, extra="", vhost="", virtual_hosts=None, route_config="", http_filters=(ROUTER,), stat_prefix="front",
        access_log=()):
    """An HTTP connection manager; `routes` in one virtual host for every domain, or `virtual_hosts` whole."""
    if virtual_hosts is None:
        virtual_hosts = ["\n".join(["name: all", 'domains: ["*"]', "routes:", _items(routes, 0), _indent(vhost, 0)])]
    return "\n".join([
        "name: envoy.filters.network.http_connection_manager",
        "typed_config:",
        f'  "@type": {TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
        f"  stat_prefix: {stat_prefix}",
        _indent(extra, 2),
        *(["  access_log:", _items(access_log, 2)] if access_log else []),
        "  route_config:", "    name: local", _indent(route_config, 4), "    virtual_hosts:", _items(virtual_hosts, 4),
        "  http_filters:", _items(http_filters, 2)])


def tcp_proxy(cluster_name=None, extra="", stat_prefix="tcp", access_log=()):
    return "\n".join([
        "name: envoy.filters.network.tcp_proxy",
        "typed_config:",
        f'  "@type": {TYPES}.extensions.filters.network.tcp_proxy.v3.TcpProxy',
        f"  stat_prefix: {stat_prefix}",
        f"  cluster: {cluster_name}" if cluster_name else "",
        _indent(extra, 2),
        *(["  access_log:", _items(access_log, 2)] if access_log else [])])


def route(cluster_name, match='prefix: "/"', action="", extra=""):
    """A route to a cluster; `action` adds to its RouteAction, `extra` to the Route."""
    return "\n".join(["match:", _indent(match, 2), "route:", f"  cluster: {cluster_name}", _indent(action, 2),
                      _indent(extra, 0)])


def direct(status=200, body="direct", match='prefix: "/"', extra=""):
    return "\n".join(["match:", _indent(match, 2),
                      f'direct_response: {{ status: {status}, body: {{ inline_string: "{body}" }} }}',
                      _indent(extra, 0)])


def file_log(path, text_format=None, extra=""):
    """A file access log; the format is one line of operators without its newline."""
    lines = ["name: envoy.access_loggers.file", "typed_config:",
             f'  "@type": {TYPES}.extensions.access_loggers.file.v3.FileAccessLog', f"  path: {path}"]
    if text_format is not None:
        lines += ["  log_format:", "    text_format_source:", "      inline_string: |", f"        {text_format}"]
    return "\n".join(lines + [_indent(extra, 2)])
