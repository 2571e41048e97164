#include <gtest/gtest.h>

#include "net/address.h"
#include "stream/formatter.h"

namespace millrace::stream {
namespace {

using Object = JsonFormat::Object;
using Array = JsonFormat::Array;

JsonFormat text(std::string_view value) { return {std::string(value)}; }

class JsonFormatTest : public testing::Test {
 protected:
  JsonFormatTest() {
    info_.response_code = 200;
    info_.bytes_sent = 12345678901;
    info_.protocol = Protocol::kHttp11;
    request_.add(http::Header::kPath, "/x");
  }
  std::string format(const Object& object, JsonFormatOptions options = {.line_end = false}) {
    base::Result<JsonFormatter> formatter = JsonFormatter::compile(object, options);
    if (!formatter.ok()) return "error: " + formatter.error().what;
    std::string out;
    formatter->append({.info = &info_, .request_headers = &request_}, out);
    return out;
  }
  std::string string_of(std::string_view header_value) {
    request_.set("x-v", header_value);
    return format({{"v", text("%REQ(X-V)%")}});
  }

  StreamInfo info_;
  http::HeaderMap request_;
};

TEST_F(JsonFormatTest, KeepsTheTypesOfSingleOperators) {
  EXPECT_EQ(format({{"code", text("%RESPONSE_CODE%")},
                    {"sent", text("%BYTES_SENT%")},
                    {"protocol", text("%PROTOCOL%")},
                    {"flags", text("%RESPONSE_FLAGS%")}}),
            R"({"code":200,"flags":"-","protocol":"HTTP/1.1","sent":12345678901})");
}

TEST_F(JsonFormatTest, AnythingElseIsAString) {
  EXPECT_EQ(format({{"a", text("%RESPONSE_CODE%.0")}, {"b", text("%RESPONSE_CODE%%BYTES_SENT%")}, {"c", text("%%")}}),
            R"({"a":"200.0","b":"20012345678901","c":"%"})");
}

TEST_F(JsonFormatTest, MissingValuesAreNullAloneAndADashInText) {
  EXPECT_EQ(format({{"a", text("%REQ(ABSENT)%")}, {"b", text("[%REQ(ABSENT)%]")}, {"c", text("%DURATION%")}}),
            R"({"a":null,"b":"[-]","c":null})");
}

TEST_F(JsonFormatTest, OmitsMissingMembersWhenAsked) {
  EXPECT_EQ(format({{"a", text("%REQ(ABSENT)%")},
                    {"b", text("[%REQ(ABSENT)%]")},
                    {"c", {Object{{"d", text("%ROUTE_NAME%")}}}},
                    {"e", {Array{text("%ROUTE_NAME%"), text("%RESPONSE_CODE%")}}},
                    {"f", text("%ROUTE_NAME%")}},
                   {.omit_empty_values = true, .line_end = false}),
            R"({"b":"[]","c":{},"e":[200]})");
}

TEST_F(JsonFormatTest, NestsObjectsAndArrays) {
  EXPECT_EQ(format({{"o", {Object{{"p", {Object{{"path", text("%REQ(:PATH)%")}}}}}}},
                    {"l", {Array{text("x"), text("%RESPONSE_CODE%"), {Array{}}, {Object{}}}}}}),
            R"({"l":["x",200,[],{}],"o":{"p":{"path":"/x"}}})");
}

TEST_F(JsonFormatTest, WritesConstantsAsTheyAre) {
  EXPECT_EQ(format({{"a", {1.0}}, {"b", {-2.5}}, {"c", {true}}, {"d", {false}}, {"e", {nullptr}}, {"f", text("")},
                    {"g", {1e300}}, {"h", {4503599627370496.0}}}),
            R"({"a":1,"b":-2.5,"c":true,"d":false,"e":null,"f":"","g":1e+300,"h":4503599627370496})");
}

TEST_F(JsonFormatTest, SortsMembersUnlessToldNotTo) {
  const Object object{{"b", text("1")}, {"a", text("2")}};
  EXPECT_EQ(format(object), R"({"a":"2","b":"1"})");
  EXPECT_EQ(format(object, {.sort_properties = false, .line_end = false}), R"({"b":"1","a":"2"})");
}

TEST_F(JsonFormatTest, EndsTheLine) { EXPECT_EQ(format({}, {}), "{}\n"); }

TEST_F(JsonFormatTest, EscapesQuotesBackslashesAndControlBytes) {
  EXPECT_EQ(string_of("a\"b\\c\td"), R"({"v":"a\"b\\c\td"})");
  std::string all;
  for (char c = 1; c < 0x20; ++c) all += c;
  std::string out;
  append_json_string(all, out);
  EXPECT_EQ(out, "\"\\u0001\\u0002\\u0003\\u0004\\u0005\\u0006\\u0007\\b\\t\\n\\u000b\\f\\r\\u000e\\u000f"
                 "\\u0010\\u0011\\u0012\\u0013\\u0014\\u0015\\u0016\\u0017\\u0018\\u0019\\u001a\\u001b\\u001c\\u001d"
                 "\\u001e\\u001f\"");
  out.clear();
  append_json_string(std::string_view("\0\x7f", 2), out);
  EXPECT_EQ(out, "\"\\u0000\x7f\"");
}

TEST_F(JsonFormatTest, FindsWhatToEscapeAtAnyPosition) {
  for (int byte = 1; byte < 256; ++byte) {
    for (size_t at = 0; at < 20; ++at) {
      std::string value(20, 'a');
      value[at] = static_cast<char>(byte);
      std::string out;
      append_json_string(value, out);
      const bool plain = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
      ASSERT_EQ(out == "\"" + value + "\"", plain) << byte << " at " << at;
    }
  }
}

TEST_F(JsonFormatTest, EscapesKeys) { EXPECT_EQ(format({{"a\"\n", text("x")}}), R"({"a\"\n":"x"})"); }

TEST_F(JsonFormatTest, KeepsWellFormedUtf8) {
  EXPECT_EQ(string_of("é€\U0001F600"), "{\"v\":\"é€\U0001F600\"}");
}

TEST_F(JsonFormatTest, ReplacesWhatIsNotUtf8) {
  const auto json = [](std::string_view bytes) {
    std::string out;
    append_json_string(bytes, out);
    return out;
  };
  EXPECT_EQ(string_of("a\xff\"b"), "{\"v\":\"a\xef\xbf\xbd\\\"b\"}");
  EXPECT_EQ(json("\xc3"), "\"\xef\xbf\xbd\"") << "cut short";
  EXPECT_EQ(json("\xc0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\"") << "overlong";
  EXPECT_EQ(json("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"") << "surrogate";
  EXPECT_EQ(json("\xf4\x90\x80\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"") << "beyond U+10FFFF";
  EXPECT_EQ(json("\xe2\x82"
                 "A"),
            "\"\xef\xbf\xbd\xef\xbf\xbd"
            "A\"");
}

TEST_F(JsonFormatTest, TruncationInsideACharacterStaysValid) {
  request_.set("x-v", "aé");
  EXPECT_EQ(format({{"v", text("%REQ(X-V):2%")}}), "{\"v\":\"a\xef\xbf\xbd\"}");
}

TEST_F(JsonFormatTest, ErrorsNameTheMember) {
  EXPECT_EQ(format({{"outer", {Object{{"inner", text("%PROTOCL%")}}}}}),
            "error: outer: inner: %PROTOCL% at position 0: unknown operator, did you mean PROTOCOL?");
  EXPECT_EQ(format({{"l", {Array{text("%")}}}}),
            "error: l: no operator follows the % at position 0; a percent sign is written %%");
}

TEST_F(JsonFormatTest, RefusesBottomlessNesting) {
  JsonFormat value = text("x");
  for (int i = 0; i < 200; ++i) {
    Array array;
    array.push_back(std::move(value));
    value = JsonFormat{std::move(array)};
  }
  Object object;
  object.emplace_back("a", std::move(value));
  EXPECT_EQ(format(object), "error: a: nested more than 100 deep");
}

TEST_F(JsonFormatTest, GrpcStatusIsANumberWhenAskedForOne) {
  request_.set(http::Header::kContentType, "application/grpc");
  info_.response_code = 503;
  EXPECT_EQ(format({{"a", text("%GRPC_STATUS%")}, {"b", text("%GRPC_STATUS(NUMBER)%")},
                    {"c", text("%GRPC_STATUS_NUMBER%")}}),
            R"({"a":"Unavailable","b":14,"c":14})");
}

TEST_F(JsonFormatTest, PortsAreNumbers) {
  const net::Address address = net::Address::parse_ip("10.0.0.1", 80).value();
  ConnectionInfo connection;
  connection.remote_address = &address;
  info_.connection = &connection;
  EXPECT_EQ(format({{"a", text("%DOWNSTREAM_REMOTE_ADDRESS%")}, {"p", text("%DOWNSTREAM_REMOTE_PORT%")}}),
            R"({"a":"10.0.0.1:80","p":80})");
}

}  // namespace
}  // namespace millrace::stream
