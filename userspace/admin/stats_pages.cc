// Statistics, a slice at a time: first the gauges of clusters are brought up to date, then a stats::Renderer walks the
// store.
#include <re2/re2.h>

#include <algorithm>

#include "admin/html.h"
#include "admin/pages.h"
#include "stats/render.h"
#include "stats/stats.h"
#include "upstream/cluster.h"

namespace millrace::admin {
namespace {

using stats::RenderOptions;
using Render = std::unique_ptr<stats::Renderer> (*)(const stats::Store&, RenderOptions);

// Hosts whose health is looked at in a turn; some tens of nanoseconds each.
constexpr size_t kHostsPerSlice = 16 * 1024;

class StatsBody final : public Body {
 public:
  StatsBody(AdminContext& context, Render render, RenderOptions options, bool html)
      : store_(context.store),
        clusters_(context.clusters ? context.clusters() : nullptr),
        render_(render),
        options_(std::move(options)),
        html_(html) {}

  bool next(base::Buffer& out) override {
    if (publish_gauges()) return true;
    if (renderer_ == nullptr) {
      renderer_ = render_(store_, std::move(options_));
      if (html_) out.append(html_head("Statistics") + "<pre>");
    }
    if (!html_) return renderer_->next(out, kSliceBytes);
    base::Buffer slice;
    const bool more = renderer_->next(slice, kSliceBytes);
    for (size_t i = 0; i < slice.slice_count(); ++i) out.append(html_escaped(slice.slice(i).view()));
    if (!more) out.append("</pre></body></html>\n");
    return more;
  }

 private:
  // Whether there are more clusters to go.
  bool publish_gauges() {
    if (clusters_ == nullptr) return false;
    for (size_t hosts = 0; hosts < kHostsPerSlice && cluster_ < clusters_->size(); ++cluster_) {
      upstream::Cluster& cluster = clusters_->at(cluster_);
      hosts += cluster.hosts().size() + 16;
      cluster.publish_gauges();
    }
    if (cluster_ < clusters_->size()) return true;
    clusters_ = nullptr;
    return false;
  }

  const stats::Store& store_;
  std::shared_ptr<const upstream::ClusterSet> clusters_;
  const Render render_;
  RenderOptions options_;
  const bool html_;
  uint32_t cluster_ = 0;
  std::unique_ptr<stats::Renderer> renderer_;
};

base::Error invalid(std::string what) {
  return {base::ErrorCode::kInvalidArgument, base::Side::kDownstream, 0, std::move(what)};
}

base::Result<void> read_type(const Query& query, RenderOptions& options) {
  using Type = RenderOptions::Type;
  static constexpr std::pair<std::string_view, Type> kTypes[] = {{"All", Type::kAll},
                                                                 {"Counters", Type::kCounters},
                                                                 {"Gauges", Type::kGauges},
                                                                 {"Histograms", Type::kHistograms},
                                                                 {"TextReadouts", Type::kTextReadouts}};
  const std::optional<std::string> wanted = query.value("type");
  if (!wanted) return {};
  for (const auto& [name, type] : kTypes) {
    if (name != *wanted) continue;
    options.type = type;
    return {};
  }
  return invalid("type is one of All, Counters, Gauges, Histograms, TextReadouts");
}

base::Result<void> read_buckets(const Query& query, RenderOptions& options, bool prometheus) {
  using Buckets = RenderOptions::Buckets;
  static constexpr std::pair<std::string_view, Buckets> kBuckets[] = {{"none", Buckets::kNone},
                                                                      {"summary", Buckets::kNone},
                                                                      {"cumulative", Buckets::kCumulative},
                                                                      {"disjoint", Buckets::kDisjoint},
                                                                      {"detailed", Buckets::kDetailed}};
  const std::optional<std::string> wanted = query.value("histogram_buckets");
  if (!wanted) return {};
  if (prometheus) {
    options.summaries = *wanted == "summary";
    if (options.summaries || *wanted == "cumulative") return {};
    return invalid("for Prometheus, histogram_buckets is one of cumulative, summary");
  }
  for (const auto& [name, buckets] : kBuckets) {
    if (name != *wanted) continue;
    options.buckets = buckets;
    return {};
  }
  return invalid("histogram_buckets is one of none, summary, cumulative, disjoint, detailed");
}

base::Result<void> read_filter(const Query& query, RenderOptions& options) {
  const std::optional<std::string> pattern = query.value("filter");
  if (!pattern) return {};
  RE2::Options quiet;
  quiet.set_log_errors(false);
  auto regex = std::make_shared<const RE2>(*pattern, quiet);
  if (!regex->ok()) return invalid("filter is not a regular expression: " + regex->error());
  options.filter = [regex](std::string_view name) {
    return RE2::PartialMatch(re2::StringPiece(name.data(), name.size()), *regex);
  };
  return {};
}

Response answer(const Request& request, AdminContext& context, const std::string& format) {
  const Query& query = request.query;
  const bool prometheus = format == "prometheus";
  RenderOptions options;
  options.used_only = query.has("usedonly");
  options.text_readouts = query.has("text_readouts");
  for (const base::Result<void>& read :
       {read_type(query, options), read_buckets(query, options, prometheus), read_filter(query, options)}) {
    if (!read.ok()) return Response::make(400, read.error().what + "\n");
  }
  if (context.refresh_stats) context.refresh_stats();
  Response response;
  Render render = &stats::render_text;
  if (format == "json") {
    response.content_type = kJsonType;
    render = &stats::render_json;
  } else if (prometheus) {
    render = &stats::render_prometheus;
  } else if (format == "html") {
    response.content_type = kHtmlType;
  }
  response.body = std::make_unique<StatsBody>(context, render, std::move(options), format == "html");
  return response;
}

}  // namespace

Response answer_stats(const Request& request, AdminContext& context) {
  const std::string format = request.query.value("format").value_or("text");
  static constexpr std::string_view kFormats[] = {"text", "json", "prometheus", "html"};
  if (std::find(std::begin(kFormats), std::end(kFormats), format) == std::end(kFormats))
    return Response::make(400, "format is one of text, json, prometheus, html (active-html is not there yet)\n");
  return answer(request, context, format);
}

Response answer_prometheus(const Request& request, AdminContext& context) {
  return answer(request, context, "prometheus");
}

}  // namespace millrace::admin
