// Filters for the tests: the last one of the chain, which the test answers for, and one in the middle that records and
// stops where it is told to.
#pragma once
#include <algorithm>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "filter/http_filter.h"
#include "filter/http_stream.h"

namespace millrace::filter {

class Terminal;

// What the last filters of all streams share.
struct App {
  std::vector<Terminal*> live;                     // streams that run, oldest first
  std::function<void(Terminal&)> on_headers;       // the request's head is here
  std::function<void(Terminal&)> on_whole;         // the request is complete
  std::vector<std::string> requests;               // "GET /path body" of the complete ones
  std::string log;                                 // "above;", "below;"
  int ends = 0;
};

using Fields = std::initializer_list<std::pair<std::string_view, std::string_view>>;

class Terminal final : public HttpFilter {
 public:
  explicit Terminal(App& app) : app_(app) {}

  void begin(HttpStream& s) override {
    stream = &s;
    body.clear();
    trailers.clear();
    ended = false;
    app_.live.push_back(this);
  }
  void end() override {
    app_.live.erase(std::find(app_.live.begin(), app_.live.end(), this));
    ++app_.ends;
  }
  HttpFilterStatus on_request_headers(http::HeaderMap&, bool end_stream) override {
    ended = end_stream;
    if (app_.on_headers) app_.on_headers(*this);
    if (ended && !stream->over()) whole();
    return HttpFilterStatus::kStop;
  }
  HttpFilterStatus on_request_data(base::Buffer& data, bool end_stream) override {
    body += data.to_string();
    data.clear();
    ended = end_stream;
    if (ended) whole();
    return HttpFilterStatus::kStop;
  }
  HttpFilterStatus on_request_trailers(http::HeaderMap& map) override {
    map.for_each([&](const http::HeaderMap::Entry& e) {
      trailers += std::string(e.name) + "=" + std::string(e.value) + ";";
    });
    ended = true;
    whole();
    return HttpFilterStatus::kStop;
  }
  void on_downstream_above_high_watermark() override { app_.log += "above;"; }
  void on_downstream_below_low_watermark() override { app_.log += "below;"; }

  // ---- for the test
  std::string_view request(std::string_view name) const { return stream->request_headers().get(name); }
  void headers(std::string_view status, Fields fields = {}, bool end_stream = false) {
    http::HeaderMap& map = stream->response_headers();
    map.clear();
    map.add(":status", status);
    for (const auto& [name, value] : fields) map.add(name, value);
    stream->respond_headers(end_stream);
  }
  void data(std::string_view bytes, bool end_stream = false) {
    base::Buffer buffer;
    buffer.append(bytes);
    stream->respond_data(buffer, end_stream);
  }
  void end_with_trailers(Fields fields) {
    for (const auto& [name, value] : fields) stream->response_trailers().add(name, value);
    stream->respond_trailers();
  }
  // A whole answer with content-length.
  void answer(std::string_view status, std::string_view text) {
    const std::string length = std::to_string(text.size());
    headers(status, {{"content-length", length}}, text.empty());
    if (!text.empty()) data(text, true);
  }

  HttpStream* stream = nullptr;
  std::string body, trailers;
  bool ended = false;

 private:
  void whole() {
    app_.requests.push_back(std::string(request(":method")) + " " + std::string(request(":path")) +
                            (body.empty() ? "" : " " + body));
    if (app_.on_whole) app_.on_whole(*this);
  }
  App& app_;
};

class TerminalConfig final : public HttpFilterConfig {
 public:
  explicit TerminalConfig(App& app) : app_(app) {}
  std::unique_ptr<HttpFilter> instantiate(WorkerContext&) const override { return std::make_unique<Terminal>(app_); }
  std::string_view name() const override { return "test.terminal"; }

 private:
  App& app_;
};

// Stops at the events named in `stop`, once each; records all.
struct Middle {
  std::string name;
  std::vector<std::string> stop{};
  std::vector<std::string> collect{};  // the same, and is shown what follows
  std::function<void(const std::string& event, HttpStream& stream)> act{};
  std::string log{};
  HttpStream* stream = nullptr;
  HttpFilter* filter = nullptr;

  HttpFilterStatus seen(const std::string& event, const std::string& detail) {
    log += event + detail + ";";
    if (act) act(event, *stream);
    const auto takes = [&](std::vector<std::string>& from) {
      const auto at = std::find(from.begin(), from.end(), event);
      if (at == from.end()) return false;
      from.erase(at);
      return true;
    };
    if (takes(stop)) return HttpFilterStatus::kStop;
    return takes(collect) ? HttpFilterStatus::kCollect : HttpFilterStatus::kContinue;
  }
  void continue_request() { stream->continue_request(*filter); }
  void continue_response() { stream->continue_response(*filter); }
};

class MiddleFilter final : public HttpFilter {
 public:
  explicit MiddleFilter(Middle& middle) : m_(middle) {}
  void begin(HttpStream& stream) override {
    m_.stream = &stream;
    m_.filter = this;
  }
  void end() override { m_.log += "end;"; }
  HttpFilterStatus on_request_headers(http::HeaderMap&, bool end) override { return m_.seen("rh", end ? "!" : ""); }
  HttpFilterStatus on_request_data(base::Buffer& d, bool end) override {
    return m_.seen("rd", "(" + d.to_string() + ")" + (end ? "!" : ""));
  }
  HttpFilterStatus on_request_trailers(http::HeaderMap&) override { return m_.seen("rt", ""); }
  HttpFilterStatus on_response_headers(http::HeaderMap&, bool end) override { return m_.seen("sh", end ? "!" : ""); }
  HttpFilterStatus on_response_data(base::Buffer& d, bool end) override {
    return m_.seen("sd", "(" + d.to_string() + ")" + (end ? "!" : ""));
  }
  HttpFilterStatus on_response_trailers(http::HeaderMap&) override { return m_.seen("st", ""); }

 private:
  Middle& m_;
};

class MiddleConfig final : public HttpFilterConfig {
 public:
  explicit MiddleConfig(Middle& middle) : m_(middle) {}
  std::unique_ptr<HttpFilter> instantiate(WorkerContext&) const override { return std::make_unique<MiddleFilter>(m_); }
  std::string_view name() const override { return m_.name; }

 private:
  Middle& m_;
};

}  // namespace millrace::filter
