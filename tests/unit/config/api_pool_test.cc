#include "config/api_pool.h"

#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/config/core/v3/address.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "validate/validate.pb.h"

namespace millrace::config {
namespace {

namespace pb = google::protobuf;

const pb::FieldDescriptor* field(const std::string& message, const std::string& name) {
  const pb::Descriptor* type = ApiPool::get().find_message(message);
  return type == nullptr ? nullptr : type->FindFieldByName(name);
}

TEST(ApiPool, BuildsEveryMessageOfTheApi) {
  ApiPool& pool = ApiPool::get();
  const std::vector<std::string> names = pool.message_names();
  EXPECT_GT(names.size(), 1500u);
  for (const std::string& name : names) {
    const pb::Descriptor* type = pool.find_message(name);
    ASSERT_NE(type, nullptr) << name;
    EXPECT_EQ(type->full_name(), name);
    EXPECT_NE(pool.new_message(*type), nullptr) << name;
    ASSERT_NE(pool.pool().FindMessageTypeByName(name), nullptr) << name;
  }
}

TEST(ApiPool, TranslatedTypesAreTheGeneratedClasses) {
  ApiPool& pool = ApiPool::get();
  const auto* type = pool.find_message("envoy.config.bootstrap.v3.Bootstrap");
  EXPECT_EQ(type, envoy::config::bootstrap::v3::Bootstrap::descriptor());
  const std::unique_ptr<pb::Message> message = pool.new_message(*type);
  EXPECT_NE(dynamic_cast<envoy::config::bootstrap::v3::Bootstrap*>(message.get()), nullptr);
}

TEST(ApiPool, OtherTypesAreDynamic) {
  ApiPool& pool = ApiPool::get();
  const std::string name = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz";
  EXPECT_EQ(pb::DescriptorPool::generated_pool()->FindMessageTypeByName(name), nullptr);
  const pb::Descriptor* type = pool.find_message(name);
  ASSERT_NE(type, nullptr);
  const std::unique_ptr<pb::Message> message = pool.new_message(*type);
  const auto* flag = type->FindFieldByName("failure_mode_allow");
  message->GetReflection()->SetBool(message.get(), flag, true);
  EXPECT_EQ(message->ShortDebugString(), "failure_mode_allow: true");
}

TEST(ApiPool, FindsTypesByUrlWhateverTheHost) {
  ApiPool& pool = ApiPool::get();
  const auto* expected = envoy::extensions::filters::network::http_connection_manager::v3::
      HttpConnectionManager::descriptor();
  const std::string name =
      "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
  EXPECT_EQ(pool.find_message_by_url("type.googleapis.com/" + name), expected);
  EXPECT_EQ(pool.find_message_by_url("example.org/a/" + name), expected);
  EXPECT_EQ(pool.find_message_by_url("type.googleapis.com/envoy.Nothing"), nullptr);
  EXPECT_EQ(pool.find_message_by_url(""), nullptr);
}

TEST(ApiOverlay, AddsFieldsToExistingMessages) {
  const auto* netns = envoy::config::core::v3::SocketAddress::descriptor()->FindFieldByName(
      "network_namespace_filepath");
  ASSERT_NE(netns, nullptr);
  EXPECT_EQ(netns->number(), 7);
  EXPECT_EQ(netns->json_name(), "networkNamespaceFilepath");

  const auto* allow_paths = field("envoy.config.bootstrap.v3.Admin", "allow_paths");
  ASSERT_NE(allow_paths, nullptr);
  EXPECT_TRUE(allow_paths->is_repeated());
  EXPECT_EQ(allow_paths->message_type()->full_name(), "envoy.type.matcher.v3.StringMatcher");
}

TEST(ApiOverlay, AddsMembersToOneofs) {
  const auto* host_rewrite = field("envoy.config.route.v3.RouteAction", "host_rewrite");
  ASSERT_NE(host_rewrite, nullptr);
  ASSERT_NE(host_rewrite->containing_oneof(), nullptr);
  EXPECT_EQ(host_rewrite->containing_oneof()->name(), "host_rewrite_specifier");
  EXPECT_NE(field("envoy.config.route.v3.RouteAction", "host_rewrite_literal")->containing_oneof(),
            nullptr);
}

TEST(ApiOverlay, AddsFilesMapsEnumsAndDeprecation) {
  const auto* map = field("envoy.extensions.filters.http.a2a.v3.ParserConfig", "method_configs");
  ASSERT_NE(map, nullptr);
  EXPECT_TRUE(map->is_map());

  const auto* family = field("envoy.extensions.clusters.dns.v3.DnsCluster", "dns_lookup_family");
  ASSERT_NE(family, nullptr);
  EXPECT_EQ(family->enum_type()->FindValueByNumber(5)->name(), "ALL");

  const auto* action = field("envoy.config.route.v3.RateLimit", "x_ratelimit_option");
  ASSERT_NE(action, nullptr);
  EXPECT_EQ(action->enum_type()->full_name(), "envoy.config.route.v3.RateLimit.XRateLimitOption");

  EXPECT_TRUE(field("envoy.extensions.access_loggers.stats.v3.Config", "stat_prefix")
                  ->options()
                  .deprecated());
}

TEST(ApiOverlay, ChangesFieldsThatGotAnotherNameOrType) {
  const std::string maxmind = "envoy.extensions.geoip_providers.maxmind.v3.MaxMindConfig";
  ASSERT_NE(field(maxmind, "asn_db_path"), nullptr);
  EXPECT_EQ(field(maxmind, "asn_db_path")->number(), 2);
  EXPECT_EQ(field(maxmind, "asn_db_path")->json_name(), "asnDbPath");

  const auto* limits =
      field("envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute", "rate_limits");
  ASSERT_NE(limits, nullptr);
  EXPECT_TRUE(limits->is_repeated());
  EXPECT_EQ(limits->message_type()->full_name(), "envoy.config.route.v3.RateLimit");
}

TEST(ApiOverlay, KeepsValidationRules) {
  const auto* generated =
      envoy::config::core::v3::SocketAddress::descriptor()->FindFieldByName("port_value");
  EXPECT_EQ(generated->options().GetExtension(validate::rules).uint32().lte(), 65535u);

  const auto* dynamic =
      field("envoy.extensions.filters.http.health_check.v3.HealthCheck", "pass_through_mode");
  ASSERT_NE(dynamic, nullptr);
  EXPECT_TRUE(dynamic->options().GetExtension(validate::rules).message().required());

  const auto* ignoring = field("envoy.config.endpoint.v3.Endpoint.HealthCheckConfig", "port_value");
  ASSERT_NE(ignoring, nullptr);
  EXPECT_TRUE(ignoring->options().HasExtension(validate::rules));
}

}  // namespace
}  // namespace millrace::config
