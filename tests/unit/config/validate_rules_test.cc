#include "config/validate_rules.h"

#include <gmock/gmock.h>
#include <google/protobuf/any.pb.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/wrappers.pb.h>
#include <gtest/gtest.h>

#include "config/loader.h"
#include "config/proto_builder.h"
#include "config/validate_rules_compiled.h"
#include "validate/validate.pb.h"

namespace millrace::config {
namespace {

namespace pb = google::protobuf;
using ::testing::HasSubstr;

// What the rules say of a message M of a made-up file; the file is given in protobuf's text format without its frame.
std::string violations_in(const std::string& messages, std::string_view yaml) {
  // Named so that the linker keeps the types and the extensions of validate.proto.
  (void)validate::FieldRules::default_instance();
  (void)pb::Any::default_instance();
  (void)pb::Duration::default_instance();
  (void)pb::Timestamp::default_instance();
  (void)pb::UInt32Value::default_instance();
  pb::FileDescriptorProto file;
  const std::string frame =
      "name: 't.proto' package: 't' syntax: 'proto3' dependency: 'google/protobuf/any.proto' "
      "dependency: 'google/protobuf/duration.proto' dependency: 'google/protobuf/timestamp.proto' "
      "dependency: 'google/protobuf/wrappers.proto' ";
  EXPECT_TRUE(pb::TextFormat::ParseFromString(frame + messages, &file)) << messages;
  pb::DescriptorPool pool(pb::DescriptorPool::generated_pool());
  EXPECT_NE(pool.BuildFile(file), nullptr) << messages;
  pb::DynamicMessageFactory factory;
  factory.SetDelegateToGeneratedFactory(true);
  const std::unique_ptr<pb::Message> message(factory.GetPrototype(pool.FindMessageTypeByName("t.M"))->New());

  Document document;
  Diagnostics diagnostics;
  const uint16_t id = diagnostics.add_file("t.yaml");
  EXPECT_TRUE(parse_yaml(yaml, id, document, diagnostics));
  build_message(*document.root(), ApiPool::get(), {}, *message, diagnostics.positions(), diagnostics);
  EXPECT_FALSE(diagnostics.has_errors()) << diagnostics.to_string();
  validate_rules(*message, ApiPool::get(), diagnostics);
  return diagnostics.to_string();
}

// The same for a message with one field f: its type ("TYPE_UINT32", or a message's name) and its rules.
std::string violations(const std::string& type, const std::string& rules, std::string_view yaml,
                       bool repeated = false) {
  const bool scalar = type.starts_with("TYPE_");
  const std::string label = repeated ? "LABEL_REPEATED" : "LABEL_OPTIONAL";
  const std::string kind = scalar ? "type: " + type : "type: TYPE_MESSAGE type_name: '." + type + "'";
  return violations_in("message_type { name: 'M' field { name: 'f' number: 1 label: " + label + " " + kind +
                           " options { [validate.rules] { " + rules + " } } } }",
                       yaml);
}

std::string u32(const std::string& rules, std::string_view value) {
  return violations("TYPE_UINT32", "uint32 { " + rules + " }", "f: " + std::string(value));
}

std::string str(const std::string& rules, std::string_view value) {
  return violations("TYPE_STRING", "string { " + rules + " }", "f: \"" + std::string(value) + "\"");
}

TEST(ValidateRules, BoundNumbers) {
  EXPECT_EQ(u32("lt: 5", "4"), "");
  EXPECT_EQ(u32("lt: 5", "5"), "t.yaml:1:4: f: must be less than 5, not 5\n");
  EXPECT_EQ(u32("lte: 5", "5"), "");
  EXPECT_EQ(u32("lte: 5", "6"), "t.yaml:1:4: f: must be at most 5, not 6\n");
  EXPECT_EQ(u32("gt: 5", "6"), "");
  EXPECT_EQ(u32("gt: 5", "5"), "t.yaml:1:4: f: must be greater than 5, not 5\n");
  EXPECT_EQ(u32("gte: 5", "5"), "");
  EXPECT_EQ(u32("gte: 5 lte: 7", "4"), "t.yaml:1:4: f: must be at least 5 and at most 7, not 4\n");
  EXPECT_EQ(u32("gte: 5 lte: 7", "8"), "t.yaml:1:4: f: must be at least 5 and at most 7, not 8\n");
  EXPECT_EQ(u32("const: 5", "5"), "");
  EXPECT_EQ(u32("const: 5", "4"), "t.yaml:1:4: f: must be 5, not 4\n");
}

TEST(ValidateRules, TakeReversedBoundsForTheNumbersOutside) {
  EXPECT_EQ(u32("gt: 10 lt: 5", "11"), "");
  EXPECT_EQ(u32("gt: 10 lt: 5", "4"), "");
  EXPECT_EQ(u32("gt: 10 lt: 5", "7"), "t.yaml:1:4: f: must be greater than 10 or less than 5, not 7\n");
}

TEST(ValidateRules, KnowNumbersThatAreInOrOut) {
  EXPECT_EQ(u32("in: [1, 2]", "2"), "");
  EXPECT_EQ(u32("in: [1, 2]", "3"), "t.yaml:1:4: f: must be one of 1, 2, not 3\n");
  EXPECT_EQ(u32("not_in: [1, 2]", "3"), "");
  EXPECT_EQ(u32("not_in: [1, 2]", "2"), "t.yaml:1:4: f: must not be 2\n");
}

TEST(ValidateRules, CheckEveryTypeOfNumber) {
  for (const std::string type : {"int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64",
                                 "sfixed32", "sfixed64", "float", "double"}) {
    std::string upper = "TYPE_" + type;
    for (char& c : upper) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
    EXPECT_EQ(violations(upper, type + " { gte: 3 }", "f: 3"), "") << type;
    EXPECT_EQ(violations(upper, type + " { gte: 3 }", "f: 2"), "t.yaml:1:4: f: must be at least 3, not 2\n") << type;
  }
  EXPECT_EQ(violations("TYPE_UINT64", "uint64 { lt: 18446744073709551615 }", "f: 18446744073709551614"), "");
  EXPECT_NE(violations("TYPE_UINT64", "uint64 { lt: 18446744073709551615 }", "f: 18446744073709551615"), "");
  EXPECT_EQ(violations("TYPE_BOOL", "bool { const: true }", "f: false"), "t.yaml:1:4: f: must be 1, not 0\n");
}

TEST(ValidateRules, HoldForAbsentScalarsToo) {
  EXPECT_EQ(violations("TYPE_UINT32", "uint32 { gt: 0 }", "{}"), "t.yaml:1:1: f: must be greater than 0, not 0\n");
  EXPECT_EQ(violations("TYPE_STRING", "string { min_len: 1 }", "{}"), "t.yaml:1:1: f: must not be empty\n");
  EXPECT_EQ(violations("TYPE_UINT32", "uint32 { gt: 3 ignore_empty: true }", "{}"), "");
  EXPECT_NE(violations("TYPE_UINT32", "uint32 { gt: 3 ignore_empty: true }", "f: 2"), "");
  EXPECT_EQ(violations("TYPE_STRING", "string { min_len: 2 ignore_empty: true }", "f: ''"), "");
  EXPECT_NE(violations("TYPE_STRING", "string { min_len: 2 ignore_empty: true }", "f: a"), "");
}

TEST(ValidateRules, BoundTheLengthOfText) {
  EXPECT_EQ(str("min_len: 3", "abc"), "");
  EXPECT_EQ(str("min_len: 3", "ab"), "t.yaml:1:4: f: must be at least 3 characters long\n");
  EXPECT_EQ(str("max_len: 3", "abcd"), "t.yaml:1:4: f: must be at most 3 characters long, not 4\n");
  EXPECT_EQ(str("len: 3", "abcd"), "t.yaml:1:4: f: must be 3 characters long\n");
  EXPECT_EQ(str("max_len: 3", "\xc3\xa9\xc3\xa9\xc3\xa9"), "");
  EXPECT_EQ(str("max_bytes: 3", "\xc3\xa9\xc3\xa9"), "t.yaml:1:4: f: must be at most 3 bytes long, not 4\n");
  EXPECT_EQ(str("min_bytes: 3", "\xc3\xa9\xc3\xa9"), "");
  EXPECT_EQ(str("len_bytes: 4", "\xc3\xa9\xc3\xa9"), "");
}

TEST(ValidateRules, CheckTheContentOfText) {
  EXPECT_EQ(str("const: 'a'", "b"), "t.yaml:1:4: f: must be 'a'\n");
  EXPECT_EQ(str("prefix: '/'", "/x"), "");
  EXPECT_EQ(str("prefix: '/'", "x"), "t.yaml:1:4: f: must begin with '/'\n");
  EXPECT_EQ(str("suffix: '/'", "/x"), "t.yaml:1:4: f: must end with '/'\n");
  EXPECT_EQ(str("contains: '@'", "x"), "t.yaml:1:4: f: must contain '@'\n");
  EXPECT_EQ(str("not_contains: '@'", "x@"), "t.yaml:1:4: f: must not contain '@'\n");
  EXPECT_EQ(str("pattern: '^[a-z]+$'", "abc"), "");
  EXPECT_EQ(str("pattern: '^[a-z]+$'", "a1"), "t.yaml:1:4: f: must match the pattern '^[a-z]+$', 'a1' does not\n");
  EXPECT_EQ(str("in: ['a', 'b']", "c"), "t.yaml:1:4: f: must be one of 'a', 'b', not 'c'\n");
  EXPECT_EQ(str("not_in: ['a', 'b']", "b"), "t.yaml:1:4: f: must not be 'b'\n");
}

TEST(ValidateRules, CheckBytes) {
  EXPECT_EQ(violations("TYPE_BYTES", "bytes { min_len: 2 }", "f: aGVsbG8="), "");
  EXPECT_EQ(violations("TYPE_BYTES", "bytes { min_len: 9 }", "f: aGVsbG8="),
            "t.yaml:1:4: f: must be at least 9 bytes long\n");
  EXPECT_NE(violations("TYPE_BYTES", "bytes { prefix: 'x' }", "f: aGVsbG8="), "");
}

TEST(ValidateRules, KnowTheFormsOfText) {
  const auto is = [](TextForm form, std::string_view text) { return has_form(text, form, true); };
  for (const char* good : {"a", "example.com", "a-b.c", "1.2.3.4", "example.com."})
    EXPECT_TRUE(is(TextForm::kHostname, good));
  for (const char* bad : {"", ".", "-a", "a-.b", "a..b", "a_b", "a b", "[::1]"})
    EXPECT_FALSE(is(TextForm::kHostname, bad));
  EXPECT_FALSE(is(TextForm::kHostname, std::string(64, 'a')));
  EXPECT_TRUE(is(TextForm::kIp, "10.0.0.1") && is(TextForm::kIp, "::1") && !is(TextForm::kIp, "10.0.0"));
  EXPECT_TRUE(is(TextForm::kIpv4, "10.0.0.1") && !is(TextForm::kIpv4, "::1"));
  EXPECT_TRUE(is(TextForm::kIpv6, "fe80::1") && !is(TextForm::kIpv6, "1.1.1.1"));
  EXPECT_TRUE(is(TextForm::kAddress, "::1") && is(TextForm::kAddress, "host") && !is(TextForm::kAddress, "a b"));
  EXPECT_TRUE(is(TextForm::kUri, "https://a.b/c?d=%20#e") && is(TextForm::kUri, "urn:x"));
  for (const char* bad : {"/a", "a b:c", "://x", "1a:b", "http://%zz", ""})
    EXPECT_FALSE(is(TextForm::kUri, bad)) << bad;
  EXPECT_TRUE(is(TextForm::kUriRef, "/a") && !is(TextForm::kUriRef, "/a b"));
  EXPECT_TRUE(is(TextForm::kEmail, "a.b@example.com") && !is(TextForm::kEmail, "@b") && !is(TextForm::kEmail, "a"));
  EXPECT_TRUE(is(TextForm::kUuid, "123e4567-e89b-12d3-a456-426614174000") && !is(TextForm::kUuid, "123e4567"));
  for (const char* good : {"x-a", ":path", "A_b.c~"}) EXPECT_TRUE(is(TextForm::kHeaderName, good)) << good;
  for (const char* bad : {"", ":", "a b", "a:b", "a\n", "\xc3\xa9"})
    EXPECT_FALSE(is(TextForm::kHeaderName, bad)) << bad;
  EXPECT_TRUE(is(TextForm::kHeaderValue, "a b\tc") && is(TextForm::kHeaderValue, ""));
  EXPECT_FALSE(is(TextForm::kHeaderValue, "a\nb") || is(TextForm::kHeaderValue, "\x01"));
  // Without strict only what would break the message is refused.
  EXPECT_TRUE(has_form("a b", TextForm::kHeaderName, false) && has_form("", TextForm::kHeaderName, false));
  EXPECT_FALSE(has_form("a\rb", TextForm::kHeaderName, false) || has_form("a\nb", TextForm::kHeaderValue, false));
}

TEST(ValidateRules, ApplyTheFormsOfText) {
  EXPECT_EQ(str("ip: true", "10.0.0"), "t.yaml:1:4: f: must be an IP address, '10.0.0' is not\n");
  EXPECT_EQ(str("hostname: true", "a_b"), "t.yaml:1:4: f: must be a host name, 'a_b' is not\n");
  EXPECT_EQ(str("uri: true", "/a"), "t.yaml:1:4: f: must be an absolute URI, '/a' is not\n");
  EXPECT_EQ(str("well_known_regex: HTTP_HEADER_NAME", "a b"),
            "t.yaml:1:4: f: must be an HTTP header name, 'a b' is not\n");
  EXPECT_EQ(str("well_known_regex: HTTP_HEADER_NAME strict: false", "a b"), "");
  EXPECT_NE(str("well_known_regex: HTTP_HEADER_VALUE", "a\\u0001"), "");
}

TEST(ValidateRules, CheckDurations) {
  const auto duration = [](const std::string& rules, std::string_view yaml) {
    return violations("google.protobuf.Duration", "duration { " + rules + " }", yaml);
  };
  EXPECT_EQ(duration("gt: {}", "f: 0.1s"), "");
  EXPECT_EQ(duration("gt: {}", "f: 0s"), "t.yaml:1:4: f: must be greater than 0s, not 0s\n");
  EXPECT_EQ(duration("gte: { nanos: 1000000 }", "f: 0.0001s"), "t.yaml:1:4: f: must be at least 0.001s, not 0.0001s\n");
  EXPECT_EQ(duration("lt: { seconds: 4294967296 }", "f: 4294967296s"),
            "t.yaml:1:4: f: must be less than 4294967296s, not 4294967296s\n");
  EXPECT_EQ(duration("required: true", "{}"), "t.yaml:1:1: f: must be set\n");
  EXPECT_EQ(duration("gt: {}", "{}"), "");
  EXPECT_NE(violations("google.protobuf.Timestamp", "timestamp { lt: { seconds: 5 } }", "f: 1970-01-01T00:00:06Z"), "");
}

TEST(ValidateRules, LookIntoWrappers) {
  EXPECT_EQ(violations("google.protobuf.UInt32Value", "uint32 { lte: 5 }", "f: 6"),
            "t.yaml:1:4: f: must be at most 5, not 6\n");
  EXPECT_EQ(violations("google.protobuf.UInt32Value", "uint32 { gt: 0 }", "{}"), "");
  EXPECT_EQ(violations("google.protobuf.UInt32Value", "uint32 { gt: 0 }", "f: 0"),
            "t.yaml:1:4: f: must be greater than 0, not 0\n");
  EXPECT_EQ(violations("google.protobuf.UInt32Value", "message { required: true } uint32 { gt: 0 }", "{}"),
            "t.yaml:1:1: f: must be set\n");
}

TEST(ValidateRules, CountAndCompareTheItemsOfLists) {
  const auto list = [](const std::string& rules, std::string_view yaml) {
    return violations("TYPE_STRING", "repeated { " + rules + " }", yaml, true);
  };
  EXPECT_EQ(list("min_items: 1", "{}"), "t.yaml:1:1: f: must not be empty\n");
  EXPECT_EQ(list("min_items: 2", "f: [a]"), "t.yaml:1:1: f: must have at least 2 entries\n");
  EXPECT_EQ(list("max_items: 1", "f: [a, b]"), "t.yaml:1:1: f: must have at most 1 entries, not 2\n");
  EXPECT_EQ(list("min_items: 2 ignore_empty: true", "{}"), "");
  EXPECT_EQ(list("unique: true", "f: [a, b]"), "");
  EXPECT_EQ(list("unique: true", "f: [a, b, a]"), "t.yaml:1:11: f[2]: the same as [0], and the items must differ\n");
  EXPECT_EQ(list("items { string { min_len: 2 } }", "f: [ab, b]"),
            "t.yaml:1:9: f[1]: must be at least 2 characters long\n");
}

TEST(ValidateRules, CheckTheKeysAndValuesOfMaps) {
  const auto map = [](const std::string& rules, std::string_view yaml) {
    return violations_in(
        "message_type { name: 'M' field { name: 'f' number: 1 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: "
        "'.t.M.FEntry'"
        " options { [validate.rules] { map { " +
            rules +
            " } } } }"
            " nested_type { name: 'FEntry' options { map_entry: true }"
            "  field { name: 'key' number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }"
            "  field { name: 'value' number: 2 label: LABEL_OPTIONAL type: TYPE_UINT32 } } }",
        yaml);
  };
  EXPECT_EQ(map("min_pairs: 1", "{}"), "t.yaml:1:1: f: must not be empty\n");
  EXPECT_EQ(map("max_pairs: 1", "f: {a: 1, b: 2}"), "t.yaml:1:1: f: must have at most 1 entries, not 2\n");
  EXPECT_EQ(map("keys { string { min_len: 2 } }", "f: {aa: 1, b: 2}"),
            "t.yaml:1:12: f[\"b\"]: must be at least 2 characters long\n");
  EXPECT_EQ(map("values { uint32 { gt: 1 } }", "f: {a: 1, b: 2}"),
            "t.yaml:1:5: f[\"a\"]: must be greater than 1, not 1\n");
}

constexpr const char* kInner =
    "message_type { name: 'N' field { name: 'g' number: 1 label: LABEL_OPTIONAL type: TYPE_UINT32"
    " options { [validate.rules] { uint32 { gt: 3 } } } } } ";

std::string nested(const std::string& rules, std::string_view yaml, bool repeated = false) {
  return violations_in(std::string(kInner) + "message_type { name: 'M' field { name: 'f' number: 1 label: " +
                           (repeated ? "LABEL_REPEATED" : "LABEL_OPTIONAL") +
                           " type: TYPE_MESSAGE type_name: '.t.N' options { [validate.rules] { " + rules + " } } } }",
                       yaml);
}

TEST(ValidateRules, GoIntoMessages) {
  EXPECT_EQ(nested("", "f: {g: 2}"), "t.yaml:1:8: f.g: must be greater than 3, not 2\n");
  EXPECT_EQ(nested("", "{}"), "");
  EXPECT_EQ(nested("message { required: true }", "{}"), "t.yaml:1:1: f: must be set\n");
  EXPECT_EQ(nested("message { skip: true }", "f: {g: 2}"), "");
  EXPECT_EQ(nested("", "f: [{g: 4}, {g: 2}]", true), "t.yaml:1:17: f[1].g: must be greater than 3, not 2\n");
  EXPECT_EQ(nested("repeated { items { message { skip: true } } }", "f: [{g: 2}]", true), "");
}

TEST(ValidateRules, LeaveDisabledMessagesAlone) {
  EXPECT_EQ(violations_in("message_type { name: 'M' options { [validate.disabled]: true }"
                          " field { name: 'f' number: 1 label: LABEL_OPTIONAL type: TYPE_UINT32"
                          " options { [validate.rules] { uint32 { gt: 3 } } } } }",
                          "f: 1"),
            "");
}

TEST(ValidateRules, RequireOneofs) {
  const std::string message =
      "message_type { name: 'M' oneof_decl { name: 'o' options { [validate.required]: true } }"
      " field { name: 'a' number: 1 label: LABEL_OPTIONAL type: TYPE_UINT32 oneof_index: 0"
      "  options { [validate.rules] { uint32 { gt: 3 } } } }"
      " field { name: 'b' number: 2 label: LABEL_OPTIONAL type: TYPE_STRING oneof_index: 0"
      "  options { [validate.rules] { string { min_len: 1 } } } } }";
  EXPECT_EQ(violations_in(message, "{}"), "t.yaml:1:1: one of 'a', 'b' must be set\n");
  EXPECT_EQ(violations_in(message, "b: x"), "");
  // The rules of the member that is not set do not count; those of the one that is set do, even for its default.
  EXPECT_EQ(violations_in(message, "a: 0"), "t.yaml:1:4: a: must be greater than 3, not 0\n");
}

TEST(ValidateRules, KnowTheValuesOfEnums) {
  const auto enumeration = [](const std::string& rules, std::string_view yaml) {
    return violations_in(
        "enum_type { name: 'E' value { name: 'A' number: 0 } value { name: 'B' number: 1 } }"
        " message_type { name: 'M' field { name: 'f' number: 1 label: LABEL_OPTIONAL type: TYPE_ENUM"
        " type_name: '.t.E' options { [validate.rules] { enum { " +
            rules + " } } } } }",
        yaml);
  };
  EXPECT_EQ(enumeration("defined_only: true", "f: B"), "");
  EXPECT_EQ(enumeration("defined_only: true", "f: 7"), "t.yaml:1:4: f: 7 is not a value of E\n");
  EXPECT_EQ(enumeration("not_in: [1]", "f: B"), "t.yaml:1:4: f: B is not allowed here\n");
  EXPECT_EQ(enumeration("in: [1]", "f: A"), "t.yaml:1:4: f: A is not allowed here\n");
  EXPECT_EQ(enumeration("const: 1", "f: B"), "");
}

TEST(ValidateRules, GoIntoAny) {
  const std::string url = "\"@type\": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer";
  const auto any = [](const std::string& rules, const std::string& yaml) {
    return violations("google.protobuf.Any", rules, yaml);
  };
  EXPECT_EQ(any("", "f: {" + url + ", max_request_bytes: 1}"), "");
  EXPECT_EQ(any("", "f:\n  " + url + "\n  max_request_bytes: 0\n"),
            "t.yaml:3:22: f.max_request_bytes: must be greater than 0, not 0\n");
  EXPECT_EQ(any("", "f: {" + url + "}"), "t.yaml:1:1: f.max_request_bytes: must be set\n");
  EXPECT_EQ(any("any { required: true }", "{}"), "t.yaml:1:1: f: must be set\n");
  EXPECT_NE(any("any { in: 'type.googleapis.com/x.Y' }", "f: {" + url + ", max_request_bytes: 1}"), "");
  EXPECT_NE(any("any { not_in: 'type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer' }",
                "f: {" + url + ", max_request_bytes: 1}"),
            "");
}

TEST(ValidateRules, DoNotRepeatWhatIsKnownToBeWrong) {
  const Loaded loaded =
      load_message_text("envoy.config.route.v3.RouteMatch", "prefix: 80\n", "t.yaml", ConfigFormat::kYaml);
  EXPECT_EQ(loaded.diagnostics().to_string(),
            "t.yaml:1:9: prefix: a string is expected, not the number 80; put it in quotes: \"80\"\n");
}

TEST(ValidateRules, ReportAnAnyWhoseContentIsDamaged) {
  pb::Any any;
  any.set_type_url("type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer");
  any.set_value("\xff");
  Diagnostics diagnostics;
  // A Filter of a listener has its Any in field 4.
  const auto* type = ApiPool::get().find_message("envoy.config.listener.v3.Filter");
  const std::unique_ptr<pb::Message> filter = ApiPool::get().new_message(*type);
  filter->GetReflection()->SetString(filter.get(), type->FindFieldByName("name"), "x");
  filter->GetReflection()
      ->MutableMessage(filter.get(), type->FindFieldByName("typed_config"))
      ->ParseFromString(any.SerializeAsString());
  validate_rules(*filter, ApiPool::get(), diagnostics);
  EXPECT_THAT(diagnostics.to_string(), HasSubstr("typed_config: its content cannot be read as "));
}

}  // namespace
}  // namespace millrace::config
