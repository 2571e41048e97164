#include "route/rewrite.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace millrace::route {
namespace {

using http::Header;
using http::HeaderMap;

std::string_view without_query(std::string_view path) {
  return path.substr(0, std::min(path.find('?'), path.find('#')));
}

std::string_view concatenate(HeaderMap& into, std::initializer_list<std::string_view> parts) {
  size_t size = 0;
  for (const std::string_view part : parts) size += part.size();
  char* const out = into.allocate(size);
  char* at = out;
  for (const std::string_view part : parts) {
    if (part.empty()) continue;
    std::memcpy(at, part.data(), part.size());
    at += part.size();
  }
  return {out, size};
}

// The bytes of the path that the route's match took, to be replaced by a prefix_rewrite.
size_t matched_bytes(const Route& route, std::string_view path) {
  const PathMatch& match = route.options->match.path;
  const bool whole = match.kind == PathMatch::Kind::kSafeRegex || match.kind == PathMatch::Kind::kConnect;
  return whole ? without_query(path).size() : std::min(match.value.size(), path.size());
}

// path with its path part rewritten by a regex, in the arena; null when nothing matches.
std::string_view replace_by_regex(const CompiledRewrite& rewrite, std::string_view path, HeaderMap& into) {
  thread_local std::string replaced;  // keeps its storage from request to request
  replaced.clear();
  const std::string_view just_path = without_query(path);
  if (!rewrite.regex.replace_all(just_path, rewrite.substitution, replaced)) return {};
  return concatenate(into, {replaced, path.substr(just_path.size())});
}

void rewrite_path(const Route& route, HeaderMap& request, const RewriteOptions& options) {
  const RouteAction& action = route.options->route;
  if (action.prefix_rewrite.empty() && route.path_rewrite == nullptr) return;
  const std::string_view path = request.get(Header::kPath);
  if (path.data() == nullptr) return;
  if (options.set_original) request.set_view(Header::kEnvoyOriginalPath, path);
  if (!action.prefix_rewrite.empty()) {
    request.set_view(Header::kPath,
                     concatenate(request, {action.prefix_rewrite, path.substr(matched_bytes(route, path))}));
    return;
  }
  const std::string_view replaced = replace_by_regex(*route.path_rewrite, path, request);
  if (!replaced.empty()) request.set_view(Header::kPath, replaced);  // no request line can do without a path
}

// The new authority by the route's host rewrite, empty when it stays.
std::string_view new_host(const Route& route, HeaderMap& request) {
  const HostRewrite& rewrite = route.options->route.host_rewrite;
  switch (rewrite.kind) {
    case HostRewrite::Kind::kLiteral: return rewrite.value;
    case HostRewrite::Kind::kHeader:
      return route.host_rewrite_header == Header::kOther ? request.get(rewrite.value)
                                                         : request.get(route.host_rewrite_header);
    case HostRewrite::Kind::kPathRegex: {
      const std::string_view path = without_query(request.get(Header::kPath));
      return path.data() == nullptr ? path : replace_by_regex(*route.host_rewrite, path, request);
    }
    case HostRewrite::Kind::kNone:
    case HostRewrite::Kind::kAuto: break;
  }
  return {};
}

struct EditLevels {
  std::array<const HeaderEdits*, 4> edits;
  void apply(bool most_specific_wins, HeaderMap& headers, const stream::FormatContext& context) const {
    for (size_t i = 0; i < edits.size(); ++i) {
      const HeaderEdits* level = edits[most_specific_wins ? edits.size() - 1 - i : i];
      if (level != nullptr && !level->empty()) level->apply(headers, context);
    }
  }
};

std::string_view last_element(std::string_view list) {
  const size_t comma = list.rfind(',');
  if (comma != std::string_view::npos) list.remove_prefix(comma + 1);
  while (list.starts_with(' ')) list.remove_prefix(1);
  return list;
}

// The request's authority as a redirect to `scheme` keeps it: without the port when a new one is given, or when
// it is the default port of the scheme that is left behind.
std::string_view kept_authority(const HeaderMap& request, std::string_view scheme, bool has_new_port) {
  const std::string_view authority = request.get(Header::kAuthority);
  const std::string_view bare = without_port(authority);
  if (bare.size() == authority.size()) return authority;
  const std::string_view port = authority.substr(bare.size());
  const std::string_view proto = request.get(Header::kForwardedProto);
  const bool leaves_default =
      scheme != proto && ((proto == "http" && port == ":80") || (proto == "https" && port == ":443"));
  return has_new_port || leaves_default ? bare : authority;
}

std::string_view redirect_path(const Route& route, const HeaderMap& request, HeaderMap& into) {
  const RedirectAction& redirect = route.options->redirect;
  const std::string_view original = request.get(Header::kPath);
  const size_t query_at = std::min(original.find('?'), original.size());
  const std::string_view query = redirect.strip_query ? std::string_view{} : original.substr(query_at);
  switch (redirect.path) {
    case RedirectAction::Path::kReplace:
      if (redirect.path_value.find('?') != std::string::npos) return redirect.path_value;
      return concatenate(into, {redirect.path_value, query});
    case RedirectAction::Path::kPrefixRewrite: {
      const std::string_view path = original.substr(0, query_at);
      return concatenate(into,
                         {redirect.path_value, path.substr(std::min(matched_bytes(route, path), path.size())), query});
    }
    case RedirectAction::Path::kRegexRewrite: {
      const std::string_view path = redirect.strip_query ? original.substr(0, query_at) : original;
      const std::string_view replaced = replace_by_regex(*route.path_rewrite, path, into);
      return replaced.data() == nullptr ? path : replaced;
    }
    case RedirectAction::Path::kKeep: break;
  }
  return redirect.strip_query ? original.substr(0, query_at) : original;
}

}  // namespace

void rewrite_host(HeaderMap& request, std::string_view host, bool append_x_forwarded_host,
                  const RewriteOptions& options) {
  if (host.empty()) return;
  const std::string_view original = request.get(Header::kAuthority);
  if (!original.empty()) {
    if (append_x_forwarded_host && last_element(request.get(Header::kForwardedHost)) != original) {
      request.append(Header::kForwardedHost, original);
    }
    if (options.set_original) request.set_view(Header::kEnvoyOriginalHost, original);
  }
  request.set(Header::kAuthority, host);
}

void rewrite_request(const Route& route, const ClusterChoice& cluster, HeaderMap& request,
                     const stream::FormatContext& context, const RewriteOptions& options) {
  const VirtualHost& host = *route.virtual_host;
  const RouteTable& table = *host.table;
  const EditLevels levels{{cluster.weighted == nullptr ? nullptr : &cluster.weighted->request_edits,
                           &route.request_edits, &host.request_edits, &table.request_edits()}};
  levels.apply(table.options().most_specific_header_mutations_wins, request, context);
  if (route.action() != ActionKind::kRoute) return;
  const bool append_host = route.options->route.append_x_forwarded_host;
  if (cluster.weighted != nullptr) {
    rewrite_host(request, cluster.weighted->options->host_rewrite_literal, append_host, options);
  }
  rewrite_host(request, new_host(route, request), append_host, options);
  rewrite_path(route, request, options);
}

void rewrite_response(const Route& route, const WeightedChoice* weighted, HeaderMap& response,
                      const stream::FormatContext& context) {
  const VirtualHost& host = *route.virtual_host;
  const RouteTable& table = *host.table;
  const EditLevels levels{{weighted == nullptr ? nullptr : &weighted->response_edits, &route.response_edits,
                           &host.response_edits, &table.response_edits()}};
  levels.apply(table.options().most_specific_header_mutations_wins, response, context);
}

std::string_view redirect_location(const Route& route, const HeaderMap& request, HeaderMap& into) {
  const RedirectAction& redirect = route.options->redirect;
  std::string_view scheme = redirect.scheme_redirect;
  if (redirect.https_redirect) scheme = "https";
  if (scheme.empty()) scheme = request.get(Header::kScheme);
  if (scheme.empty()) scheme = request.get(Header::kForwardedProto);
  if (scheme.empty()) scheme = "http";
  std::array<char, 8> port_text;
  std::string_view port;
  if (redirect.port_redirect != 0) {
    const auto end = fmt::format_to_n(port_text.data(), port_text.size(), ":{}", redirect.port_redirect).out;
    port = {port_text.data(), static_cast<size_t>(end - port_text.data())};
  }
  const std::string_view host = redirect.host_redirect.empty() ? kept_authority(request, scheme, !port.empty())
                                                               : std::string_view(redirect.host_redirect);
  return concatenate(into, {scheme, "://", host, port, redirect_path(route, request, into)});
}

}  // namespace millrace::route
