#include "transcode/engine.h"

#include <gmock/gmock.h>

#include "http/grpc_frame.h"
#include "unit/transcode/proto_set.h"

namespace millrace::transcode {
namespace {

using std::string_literals::operator""s;
using testing::HasSubstr;
using Answer = filter::JsonTranscoding::Answer;

constexpr const char* kLibrary = R"(
syntax = "proto3";
package lib;
import "google/api/annotations.proto";
import "google/api/httpbody.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";

enum Kind { PAPER = 0; AUDIO_BOOK = 1; }
message Book {
  int64 id = 1;
  string title = 2;
  Kind kind = 3;
  repeated string tags = 4;
  google.protobuf.Timestamp printed = 5;
  google.protobuf.BoolValue lent = 6;
  bytes cover = 7;
  double price = 8;
}
message Request { string shelf = 1; Book book = 2; uint32 page_size = 3; repeated int32 years = 4; bool deep = 5; }
message Books { repeated Book books = 1; string next_page = 2; }
message Upload { string name = 1; google.api.HttpBody content = 2; }

service Library {
  rpc Get(Request) returns (Book) { option (google.api.http) = {
    get: "/v1/shelves/{shelf}/books/{book.id}"
    additional_bindings { get: "/v1/books/{book.id}" }
    additional_bindings { custom { kind: "LOOK" path: "/v1/look" } }
  }; }
  rpc Add(Request) returns (Book) { option (google.api.http) = { post: "/v1/shelves/{shelf}/books" body: "book" }; }
  rpc Find(Request) returns (Books) { option (google.api.http) = {
    post: "/v1/find" body: "*" response_body: "books"
    additional_bindings { post: "/v1/next" body: "*" response_body: "next_page" }
  }; }
  rpc Years(Request) returns (Book) { option (google.api.http) = { put: "/v1/years" body: "years" }; }
  rpc AddMany(stream Request) returns (Books) { option (google.api.http) = { post: "/v1/many/{shelf}" body: "*" }; }
  rpc List(Request) returns (stream Book) { option (google.api.http) = { get: "/v1/list" }; }
  rpc Raw(Upload) returns (google.api.HttpBody) { option (google.api.http) = {
    post: "/v1/raw/{name}" body: "content" }; }
  rpc RawList(Request) returns (stream google.api.HttpBody) { option (google.api.http) = { get: "/v1/rawlist" }; }
  rpc Plain(Request) returns (Book);
}
)";

const std::string& library() {
  static const std::string* const set = new std::string(descriptor_set_of(kLibrary));
  return *set;
}

class EngineTest : public testing::Test {
 protected:
  EngineTest() {
    options.descriptor_set = library();
    options.services = {"lib.Library"};
  }
  filter::JsonTranscoding::Match match(std::string_view method, std::string_view target, std::string_view type = "") {
    if (engine_ == nullptr) {
      auto made = make_engine(options);
      EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().what);
      engine_ = *made;
    }
    return engine_->match(method, target, type);
  }
  // The gRPC messages of a request, each as JSON of `type`; or what is wrong.
  std::string request(std::string_view method, std::string_view target, std::string_view body = "",
                      const std::string& type = "lib.Request", size_t step = SIZE_MAX) {
    auto found = match(method, target, "text/x");
    if (found.answer != Answer::kCall) return "refused: " + found.what;
    call = std::move(found.call);
    base::Buffer grpc;
    bool ended = false;
    while (!ended) {
      base::Buffer piece;
      piece.append(body.substr(0, step));
      body.remove_prefix(std::min(step, body.size()));
      ended = body.empty();
      const auto done = call->request(piece, ended, grpc);
      if (!done.ok()) return "wrong: " + done.error().what;
    }
    auto messages = *Messages::load(library(), {});
    http::GrpcFrameDecoder frames;
    http::GrpcMessage message;
    std::string out;
    while (*frames.next(grpc, message)) {
      out += *messages->to_json(*messages->find_message(type), message.bytes.to_string());
    }
    EXPECT_TRUE(frames.at_boundary());
    return out;
  }
  // What the client gets for messages given as JSON.
  std::string response(std::initializer_list<std::string_view> jsons, const std::string& type) {
    auto messages = *Messages::load(library(), {});
    base::Buffer out;
    for (std::string_view json : jsons) {
      http::GrpcMessage message;
      message.bytes.append(*messages->from_json(*messages->find_message(type), json));
      const auto done = call->response(message, out);
      if (!done.ok()) return "wrong: " + done.error().what;
    }
    call->response_end(out);
    return out.to_string();
  }

  EngineOptions options;
  std::unique_ptr<filter::TranscodedCall> call;

 private:
  std::shared_ptr<const filter::JsonTranscoding> engine_;
};

TEST_F(EngineTest, BindsPathAndQuery) {
  EXPECT_EQ(request("GET", "/v1/shelves/a%20b/books/7?page_size=5&pageSize=6&book.tags=x&book.tags=y&years=1&years=-2"),
            R"({"shelf":"a b","book":{"id":"7","tags":["x","y"]},"pageSize":6,"years":[1,-2]})");
  EXPECT_EQ(call->grpc_path(), "/lib.Library/Get");
  EXPECT_EQ(request("GET", "/v1/books/8?book.kind=AUDIO_BOOK&deep=true&book.price=1.5&book.cover=Zg"),
            R"({"book":{"id":"8","kind":"AUDIO_BOOK","cover":"Zg==","price":1.5},"deep":true})");
  EXPECT_EQ(request("LOOK", "/v1/look?book.printed=2020-01-02T03:04:05Z&book.lent=true"),
            R"({"book":{"printed":"2020-01-02T03:04:05Z","lent":true}})");
  EXPECT_EQ(request("GET", "/v1/books/8?book.id=9"), R"({"book":{"id":"8"}})");  // the path wins
}

TEST_F(EngineTest, RefusesValuesThatAreNone) {
  for (const char* target : {"/v1/books/x", "/v1/books/1?page_size=-1", "/v1/books/1?deep=yes", "/v1/books/1?years=1.5",
                             "/v1/books/1?book.kind=VINYL", "/v1/books/1?book.cover=*", "/v1/books/1?shelf=%ff",
                             "/v1/books/1?book.printed=now", "/v1/books/1?book.lent=1", "/v1/books/1?book.price=1x"}) {
    EXPECT_THAT(request("GET", target), HasSubstr("wrong: ")) << target;
  }
}

TEST_F(EngineTest, UnknownParametersAndPathsAreToldApart) {
  const auto unknown = match("GET", "/v1/books/1?nope=1");
  EXPECT_EQ(unknown.answer, Answer::kUnknown);
  EXPECT_TRUE(unknown.unknown_parameter);
  EXPECT_THAT(unknown.what, HasSubstr("\"nope\""));
  EXPECT_TRUE(match("GET", "/v1/books/1?book=1").unknown_parameter);  // a message takes no text
  EXPECT_FALSE(match("GET", "/v2/books/1").unknown_parameter);
  EXPECT_EQ(match("DELETE", "/v1/books/1").answer, Answer::kUnknown);
  EXPECT_EQ(match("POST", "/lib.Library/Plain").answer, Answer::kUnknown);
}

TEST_F(EngineTest, ParametersMayBeIgnored) {
  options.ignored_query_parameters = {"key"};
  options.query_param_unescape_plus = true;
  EXPECT_EQ(request("GET", "/v1/books/1?key=secret&shelf=a+b"), R"({"shelf":"a b","book":{"id":"1"}})");
  EXPECT_TRUE(match("GET", "/v1/books/1?other=1").unknown_parameter);
}

TEST_F(EngineTest, AllUnknownParametersMayBeIgnored) {
  options.ignore_unknown_query_parameters = true;
  EXPECT_EQ(request("GET", "/v1/books/1?other=1&&=x"), R"({"book":{"id":"1"}})");
}

TEST_F(EngineTest, BodiesAreTheMessageOrAField) {
  EXPECT_EQ(request("POST", "/v1/find", R"({"shelf":"s","book":{"title":"t"}})"),
            R"({"shelf":"s","book":{"title":"t"}})");
  EXPECT_EQ(request("POST", "/v1/shelves/s/books", R"({"title":"t","id":"3"})"),
            R"({"shelf":"s","book":{"id":"3","title":"t"}})");
  EXPECT_EQ(request("PUT", "/v1/years?shelf=s", "[1,2,3]"), R"({"shelf":"s","years":[1,2,3]})");
  EXPECT_EQ(request("POST", "/v1/find", ""), "{}");
}

TEST_F(EngineTest, RefusesBodiesThatAreNotJsonOfTheMessage) {
  for (const char* body : {"{", "[]", "{\"nope\":1}", "{\"book\":{\"id\":\"x\"}}", "\xff", "1"}) {
    EXPECT_THAT(request("POST", "/v1/find", body), HasSubstr("wrong: ")) << body;
  }
  // Nothing but the field can be set.
  EXPECT_THAT(request("PUT", "/v1/years", "[1],\"shelf\":\"s\""), HasSubstr("wrong: "));
  EXPECT_THAT(request("PUT", "/v1/years", "[1]}{"), HasSubstr("wrong: "));
}

TEST_F(EngineTest, TheBodyWinsOverBindings) {
  EXPECT_EQ(request("POST", "/v1/find?shelf=query", R"({"shelf":"body"})"), R"({"shelf":"body"})");
}

TEST_F(EngineTest, CollisionsMayBeRefused) {
  options.reject_binding_body_field_collisions = true;
  EXPECT_THAT(request("POST", "/v1/find?shelf=query", R"({"shelf":"body"})"), HasSubstr("wrong: The field shelf"));
  EXPECT_EQ(request("POST", "/v1/find?shelf=same", R"({"shelf":"same"})"), R"({"shelf":"same"})");
}

TEST_F(EngineTest, ClientStreamsAreArrays) {
  const std::string body = R"([{"shelf":"a"}, {"deep":true} ,{}])";
  for (size_t step = 1; step < body.size(); ++step) {
    EXPECT_EQ(request("POST", "/v1/many/s?page_size=2", body, "lib.Request", step),
              R"({"shelf":"a","pageSize":2}{"deep":true}{})");
  }
  EXPECT_TRUE(call->client_streaming());
  EXPECT_THAT(request("POST", "/v1/many/s", R"([{"shelf":"a"})"), HasSubstr("wrong: "));
  EXPECT_THAT(request("POST", "/v1/many/s", R"({"shelf":"a"})"), HasSubstr("wrong: expected a JSON array"));
  EXPECT_EQ(request("POST", "/v1/many/s", "[]"), R"({"shelf":"s"})");
}

TEST_F(EngineTest, ResponsesAreJson) {
  request("GET", "/v1/books/1");
  EXPECT_EQ(response({R"({"id":5,"tags":["a"]})"}, "lib.Book"), R"({"id":"5","tags":["a"]})");
  EXPECT_EQ(call->content_type(), "application/json");
  EXPECT_THAT(response({"{}"}, "lib.Book"), HasSubstr("two messages"));
}

TEST_F(EngineTest, AResponseMayBeOneField) {
  request("POST", "/v1/find");
  EXPECT_EQ(response({R"({"books":[{"id":1},{"title":"x}"}],"nextPage":"p"})"}, "lib.Books"),
            R"([{"id":"1"},{"title":"x}"}])");
  request("POST", "/v1/find");
  EXPECT_EQ(response({R"({"nextPage":"p"})"}, "lib.Books"), "[]");
  request("POST", "/v1/next");
  EXPECT_EQ(response({R"({"nextPage":"p"})"}, "lib.Books"), "\"p\"");
}

TEST_F(EngineTest, ServerStreamsAreArrays) {
  request("GET", "/v1/list");
  EXPECT_EQ(response({R"({"id":1})", "{}"}, "lib.Book"), R"([{"id":"1"},{}])");
  request("GET", "/v1/list");
  EXPECT_EQ(response({}, "lib.Book"), "[]");
}

TEST_F(EngineTest, ServerStreamsMayBeLines) {
  options.stream_newline_delimited = true;
  request("GET", "/v1/list");
  EXPECT_EQ(response({R"({"id":1})", "{}"}, "lib.Book"), "{\"id\":\"1\"}\n{}\n");
}

TEST_F(EngineTest, PrintsAsAsked) {
  options.json.preserve_proto_field_names = options.json.always_print_primitive_fields = true;
  options.json.always_print_enums_as_ints = true;
  request("POST", "/v1/next");
  EXPECT_EQ(response({R"({"nextPage":"p"})"}, "lib.Books"), "\"p\"");
  request("GET", "/v1/books/1");
  EXPECT_EQ(response({R"({"kind":"AUDIO_BOOK"})"}, "lib.Book"),
            R"({"id":"0","title":"","kind":1,"tags":[],"cover":"","price":0})");
}

TEST_F(EngineTest, RawBodiesAreNotTouched) {
  EXPECT_EQ(request("POST", "/v1/raw/n", "\x01{raw", "lib.Upload"),
            R"({"name":"n","content":{"contentType":"text/x","data":"AXtyYXc="}})");
  EXPECT_EQ(response({R"({"contentType":"image/png","data":"AXtyYXc="})"}, "google.api.HttpBody"), "\x01{raw");
  EXPECT_EQ(call->content_type(), "image/png");
  request("GET", "/v1/rawlist");
  EXPECT_EQ(response({R"({"contentType":"a/b","data":"Zg=="})", R"({"contentType":"c/d","data":"Zm8="})"},
                     "google.api.HttpBody"), "ffo");
  EXPECT_EQ(call->content_type(), "a/b");
}

TEST_F(EngineTest, MethodsWithoutRulesMayBeMapped) {
  options.auto_mapping = true;
  EXPECT_EQ(request("POST", "/lib.Library/Plain", R"({"deep":true})"), R"({"deep":true})");
}

TEST_F(EngineTest, EnumsMayBeInAnyCase) {
  options.json.case_insensitive_enum_parsing = true;
  EXPECT_EQ(request("GET", "/v1/books/1?book.kind=audio_book"), R"({"book":{"id":"1","kind":"AUDIO_BOOK"}})");
  EXPECT_EQ(request("POST", "/v1/find", R"({"book":{"kind":"audio_book"}})"), R"({"book":{"kind":"AUDIO_BOOK"}})");
}

TEST_F(EngineTest, StatusesAreJson) {
  request("GET", "/v1/books/1");
  EXPECT_EQ(call->status(5, "gone", ""), R"({"code":5,"message":"gone"})");
  EXPECT_EQ(call->status(5, "gone", "\x08\x07\x12\x02hi"s), R"({"code":7,"message":"hi"})");
  EXPECT_EQ(call->status(5, "", "not protobuf"), R"({"code":5})");
}

TEST_F(EngineTest, CompressedMessagesAreAnError) {
  request("GET", "/v1/books/1");
  http::GrpcMessage message;
  message.flags = http::kGrpcCompressed;
  base::Buffer out;
  EXPECT_FALSE(call->response(message, out).ok());
}

std::string load_error(EngineOptions options) {
  auto made = make_engine(std::move(options));
  return made.ok() ? "loaded" : made.error().what;
}

TEST_F(EngineTest, SaysWhatIsWrongWithAConfiguration) {
  options.services = {"lib.Nothing"};
  EXPECT_THAT(load_error(options), HasSubstr("no service 'lib.Nothing'"));
  options.descriptor_set = "\xff";
  EXPECT_THAT(load_error(options), HasSubstr("FileDescriptorSet"));
  const auto rule = [&](const std::string& text) {
    options.services = {"t.S"};
    options.descriptor_set = descriptor_set_of(
        "syntax = \"proto3\"; package t; import \"google/api/annotations.proto\"; message M { string a = 1; M m = 2; "
        "repeated string r = 3; } service S { rpc F(M) returns (M) { option (google.api.http) = {" + text + "}; } "
        "rpc G(M) returns (M) { option (google.api.http) = { get: \"/taken\" }; } }");
    return load_error(options);
  };
  EXPECT_EQ(rule("get: \"/x/{a}\""), "loaded");
  EXPECT_THAT(rule("get: \"x\""), HasSubstr("t.S.F: path template 'x' must begin with '/'"));
  EXPECT_THAT(rule("get: \"/x/{b}\""), HasSubstr("no field that a path can set"));
  EXPECT_THAT(rule("get: \"/x/{m}\""), HasSubstr("no field that a path can set"));
  EXPECT_THAT(rule("get: \"/x/{r}\""), HasSubstr("no field that a path can set"));
  EXPECT_THAT(rule("post: \"/x\" body: \"b\""), HasSubstr("the body 'b'"));
  EXPECT_THAT(rule("post: \"/x\" body: \"m.a\""), HasSubstr("the body 'm.a'"));
  EXPECT_THAT(rule("get: \"/x\" response_body: \"b\""), HasSubstr("the response_body 'b'"));
  EXPECT_THAT(rule("get: \"/taken\""), HasSubstr("the same GET path"));
}

}  // namespace
}  // namespace millrace::transcode
