#include "config/support.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/struct.pb.h>
#include <gtest/gtest.h>

#include <set>

#include "config/api_pool.h"
#include "config/loader.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/endpoint/v3/endpoint_components.pb.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/config/metrics/v3/stats.pb.h"
#include "envoy/extensions/filters/http/router/v3/router.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "envoy/extensions/load_balancing_policies/least_request/v3/least_request.pb.h"

namespace millrace::config {
namespace {

namespace pb = google::protobuf;
using envoy::config::bootstrap::v3::Bootstrap;
using envoy::config::cluster::v3::Cluster;
using envoy::config::listener::v3::Listener;
using envoy::config::metrics::v3::StatsConfig;
using envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> paths(const std::vector<SupportNote>& notes) {
  std::vector<std::string> out;
  for (const SupportNote& note : notes) out.push_back(note.path);
  return out;
}

TEST(SupportTable, NamesOnlyMessagesAndFieldsThatExist) {
  std::set<std::string> seen;
  for (const SupportedMessage& message : parse_support_table(support_table_source())) {
    EXPECT_TRUE(seen.insert(message.name).second) << message.name << " is there twice";
    const pb::Descriptor* type = ApiPool::get().find_message(message.name);
    ASSERT_NE(type, nullptr) << message.name;
    std::set<std::string> fields;
    for (const SupportedField& field : message.fields) {
      EXPECT_NE(type->FindFieldByName(field.name), nullptr) << message.name << "." << field.name;
      EXPECT_TRUE(fields.insert(field.name).second) << message.name << "." << field.name << " is there twice";
    }
  }
}

TEST(SupportTable, NamesOnlyValuesThatExist) {
  for (const SupportedMessage& message : parse_support_table(support_table_source())) {
    for (const SupportedField& field : message.fields) {
      const auto* type = ApiPool::get().find_message(message.name)->FindFieldByName(field.name);
      if (!field.type_prefix.empty()) {
        const pb::Descriptor* held =
            type->is_map() ? type->message_type()->map_value()->message_type() : type->message_type();
        ASSERT_NE(held, nullptr) << message.name << "." << field.name;
        if (held->full_name() != "envoy.config.core.v3.TypedExtensionConfig") {
          EXPECT_EQ(held->full_name(), "google.protobuf.Any") << message.name << "." << field.name;
        }
      }
      for (const std::string& value : field.values) {
        if (type->enum_type() != nullptr) {
          EXPECT_NE(type->enum_type()->FindValueByName(value), nullptr) << message.name << "." << field.name << value;
        } else {
          EXPECT_TRUE(value == "true" || value == "false") << message.name << "." << field.name;
          EXPECT_TRUE(type->type() == pb::FieldDescriptor::TYPE_BOOL ||
                      type->message_type()->full_name() == "google.protobuf.BoolValue")
              << message.name << "." << field.name;
        }
      }
    }
  }
}

TEST(SupportTable, SaysWhatIsHonouredInTheMessageOfEveryHonouredField) {
  std::set<std::string> known;
  const std::vector<SupportedMessage> table = parse_support_table(support_table_source());
  for (const SupportedMessage& message : table) known.insert(message.name);
  for (const SupportedMessage& message : table) {
    for (const SupportedField& field : message.fields) {
      const auto* type = ApiPool::get().find_message(message.name)->FindFieldByName(field.name);
      if (!field.ignored_because.empty() || type->message_type() == nullptr) continue;
      const pb::Descriptor* content = type->message_type();
      if (type->is_map()) content = content->map_value()->message_type();
      if (content == nullptr || content->full_name().starts_with("google.protobuf.")) continue;
      EXPECT_TRUE(known.count(content->full_name()))
          << message.name << "." << field.name << ": " << content->full_name();
    }
  }
}

TEST(SupportTable, PrintsEveryField) {
  const std::string text = support_table_markdown();
  EXPECT_THAT(text, HasSubstr("## envoy.config.cluster.v3.Cluster\n"));
  EXPECT_THAT(text, HasSubstr("`type` (STATIC, STRICT_DNS, LOGICAL_DNS, ORIGINAL_DST)"));
  EXPECT_THAT(text, HasSubstr("`outlier_detection`"));
}

TEST(CheckSupport, FindsNothingInAnEmptyConfiguration) {
  const SupportFindings findings = check_support(Bootstrap());
  EXPECT_THAT(findings.unsupported, IsEmpty());
  EXPECT_THAT(findings.ignored, IsEmpty());
}

TEST(CheckSupport, NamesUnsupportedFieldsByPath) {
  Bootstrap bootstrap;
  bootstrap.mutable_static_resources()->add_clusters()->set_name("a");
  bootstrap.mutable_static_resources()->add_clusters()->add_health_checks();
  bootstrap.mutable_dynamic_resources();
  const SupportFindings findings = check_support(bootstrap);
  EXPECT_THAT(paths(findings.unsupported),
              ElementsAre("static_resources.clusters[1].health_checks", "dynamic_resources"));
  EXPECT_EQ(findings.unsupported[0].what, "known to Envoy, not supported by Millrace yet");
  EXPECT_THAT(findings.ignored, IsEmpty());
}

TEST(CheckSupport, LooksIntoAny) {
  Bootstrap bootstrap;
  HttpConnectionManager manager;
  manager.set_stat_prefix("http");
  manager.mutable_rds();
  manager.add_http_filters()->mutable_typed_config()->PackFrom(envoy::extensions::filters::http::router::v3::Router());
  Listener* listener = bootstrap.mutable_static_resources()->add_listeners();
  listener->add_filter_chains()->add_filters()->mutable_typed_config()->PackFrom(manager);
  EXPECT_THAT(paths(check_support(bootstrap).unsupported),
              ElementsAre("static_resources.listeners[0].filter_chains[0].filters[0].typed_config.rds"));
}

TEST(CheckSupport, NamesTypesItDoesNotHave) {
  HttpConnectionManager manager;
  pb::Any* any = manager.add_http_filters()->mutable_typed_config();
  any->set_type_url("type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz");
  const SupportFindings findings = check_support(manager);
  EXPECT_THAT(paths(findings.unsupported), ElementsAre("http_filters[0].typed_config"));
  EXPECT_THAT(findings.unsupported[0].what, HasSubstr("envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"));
  EXPECT_THAT(findings.unsupported[0].what, HasSubstr("not supported by Millrace yet"));

  any->set_type_url("type.googleapis.com/com.example.Mine");
  EXPECT_THAT(check_support(manager).unsupported[0].what, HasSubstr("unknown type"));
}

TEST(CheckSupport, RefusesKnownTypesInTheWrongPlace) {
  HttpConnectionManager manager;
  manager.add_http_filters()->mutable_typed_config()->PackFrom(HttpConnectionManager());
  manager.add_http_filters()->mutable_typed_config()->PackFrom(pb::Value());
  const SupportFindings findings = check_support(manager);
  EXPECT_THAT(paths(findings.unsupported), ElementsAre("http_filters[0].typed_config", "http_filters[1].typed_config"));
  EXPECT_THAT(findings.unsupported[0].what, HasSubstr("has no place here"));
}

TEST(CheckSupport, ChecksValues) {
  Cluster cluster;
  cluster.set_type(Cluster::EDS);
  cluster.set_lb_policy(Cluster::RING_HASH);
  const SupportFindings findings = check_support(cluster);
  EXPECT_THAT(paths(findings.unsupported), ElementsAre("type", "lb_policy"));
  EXPECT_THAT(findings.unsupported[0].what, HasSubstr("EDS"));
  EXPECT_THAT(findings.unsupported[0].what, HasSubstr("supported: STATIC"));

  StatsConfig stats;
  stats.mutable_use_all_default_tags()->set_value(true);
  EXPECT_THAT(check_support(stats).unsupported, IsEmpty());
  stats.mutable_use_all_default_tags()->set_value(false);
  EXPECT_THAT(paths(check_support(stats).unsupported), ElementsAre("use_all_default_tags"));
}

TEST(CheckSupport, ListsIgnoredFieldsWithTheirReasonAndDoesNotLookInside) {
  Cluster cluster;
  cluster.mutable_wait_for_warm_on_init()->set_value(true);
  cluster.mutable_metadata();
  const SupportFindings findings = check_support(cluster);
  EXPECT_THAT(findings.unsupported, IsEmpty());
  EXPECT_THAT(paths(findings.ignored), ElementsAre("metadata", "wait_for_warm_on_init"));
  EXPECT_EQ(findings.ignored[0].what, "nothing reads a cluster's metadata");
}

TEST(CheckSupport, WritesMapKeysInQuotesAndInOrder) {
  Cluster cluster;
  auto& options = *cluster.mutable_typed_extension_protocol_options();
  options["b.options"].set_type_url("x/envoy.extensions.filters.network.redis_proxy.v3.RedisProtocolOptions");
  options["a.options"].set_type_url("x/envoy.extensions.filters.network.redis_proxy.v3.RedisProtocolOptions");
  EXPECT_THAT(paths(check_support(cluster).unsupported),
              ElementsAre("typed_extension_protocol_options[\"a.options\"]",
                          "typed_extension_protocol_options[\"b.options\"]"));
}

TEST(CheckSupport, OnlyTheFirstLoadBalancingPolicyCounts) {
  Cluster cluster;
  auto* policies = cluster.mutable_load_balancing_policy();
  policies->add_policies()->mutable_typed_extension_config()->mutable_typed_config()->PackFrom(
      envoy::extensions::load_balancing_policies::least_request::v3::LeastRequest());
  policies->add_policies()->mutable_typed_extension_config()->mutable_typed_config()->set_type_url(
      "x/envoy.extensions.load_balancing_policies.maglev.v3.Maglev");
  const SupportFindings findings = check_support(cluster);
  EXPECT_THAT(findings.unsupported, IsEmpty());
  EXPECT_THAT(paths(findings.ignored), ElementsAre("load_balancing_policy.policies[1]"));
}

TEST(CheckSupport, StopsAtAnyNestedTooDeep) {
  pb::Any nested;
  for (int i = 0; i < 60; ++i) {
    pb::Any outer;
    outer.PackFrom(nested);
    nested = outer;
  }
  const SupportFindings findings = check_support(nested);
  ASSERT_EQ(findings.unsupported.size(), 1u);
  EXPECT_THAT(findings.unsupported[0].what, HasSubstr("more than 50"));
}

TEST(EnforceSupport, NamesTheLineOfWhatIsUnsupportedAndReturnsWhatIsIgnored) {
  Loaded loaded = load_bootstrap_text(R"(
static_resources:
  clusters:
  - name: a
    connect_timeout: 1s
    wait_for_warm_on_init: true
    type: EDS
    load_assignment: {cluster_name: a}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config:
          http3_protocol_options: {}
)",
                                      "a.yaml", ConfigFormat::kYaml);
  ASSERT_TRUE(loaded.ok()) << loaded.diagnostics().to_string();
  const std::vector<SupportNote> ignored = enforce_support(loaded.message(), loaded.diagnostics());
  EXPECT_THAT(paths(ignored), ElementsAre("static_resources.clusters[0].wait_for_warm_on_init"));
  EXPECT_FALSE(loaded.ok());
  const std::string text = loaded.diagnostics().to_string();
  EXPECT_THAT(text, HasSubstr("a.yaml:7:"));
  EXPECT_THAT(text, HasSubstr("static_resources.clusters[0].type: EDS is known to Envoy"));
  EXPECT_THAT(text, HasSubstr("a.yaml:13:"));
  EXPECT_THAT(text, HasSubstr("explicit_http_config.http3_protocol_options: known to Envoy"));
}

TEST(CheckSupport, PlainValuesAndMetadataAreHonoured) {
  envoy::config::endpoint::v3::LbEndpoint endpoint;
  (*(*endpoint.mutable_metadata()->mutable_filter_metadata())["envoy.lb"].mutable_fields())["canary"].set_bool_value(
      true);
  endpoint.mutable_load_balancing_weight()->set_value(3);
  const SupportFindings findings = check_support(endpoint);
  EXPECT_THAT(findings.unsupported, IsEmpty());
  EXPECT_THAT(findings.ignored, IsEmpty());
}

}  // namespace
}  // namespace millrace::config
