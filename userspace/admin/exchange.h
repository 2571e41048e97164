// A request as the pages see it, and their answer. A page answers with a text, or with a Body that is asked for one
// slice in a turn of the loop, so that a page of any length holds up neither the loop nor the other connections, and
// never lies in memory as a whole. Main thread.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "admin/query.h"
#include "base/buffer.h"

namespace millrace::admin {

inline constexpr size_t kSliceBytes = 64 * 1024;

inline constexpr std::string_view kTextType = "text/plain; charset=UTF-8";
inline constexpr std::string_view kHtmlType = "text/html; charset=UTF-8";
inline constexpr std::string_view kJsonType = "application/json";

struct Request {
  std::string method;
  std::string path;  // without the query
  Query query;       // of the target, else of a form in the body
};

class Body {
 public:
  virtual ~Body() = default;
  // Appends about kSliceBytes, or fewer where much has to be looked at for little. False: that was all.
  virtual bool next(base::Buffer& out) = 0;
};

struct Response {
  unsigned status = 200;
  std::string_view content_type = kTextType;  // static
  std::string text;            // the whole answer, unless there is a body
  std::unique_ptr<Body> body;
  std::string_view allow;      // static: the methods of the page, when the one asked for is not among them
  std::function<void()> after;   // called once the answer has left for the kernel, or cannot any more

  static Response make(unsigned status, std::string text) {
    Response response;
    response.status = status;
    response.text = std::move(text);
    return response;
  }
  static Response json(std::string text) {
    Response response;
    response.content_type = kJsonType;
    response.text = std::move(text);
    return response;
  }
};

}  // namespace millrace::admin
