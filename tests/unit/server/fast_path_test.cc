#include "server/fast_path.h"

#include <gmock/gmock.h>
#include <sys/socket.h>

#include <cmath>

namespace millrace::server {
namespace {

using testing::UnorderedElementsAre;

struct HostSpec {
  const char* ip;
  uint32_t weight = 1;
  uint32_t priority = 0;
};

class EndpointsOfTest : public testing::Test {
 protected:
  void make(std::vector<HostSpec> hosts) {
    upstream::ClusterOptions options;
    options.name = "c";
    for (const HostSpec& host : hosts) {
      upstream::LocalityEndpoints locality;
      locality.priority = host.priority;
      upstream::EndpointOptions endpoint;
      endpoint.address = *net::Address::parse_ip(host.ip, 80);
      endpoint.weight = host.weight;
      locality.endpoints.push_back(std::move(endpoint));
      options.endpoints.push_back(std::move(locality));
    }
    cluster_ = std::make_unique<upstream::Cluster>(std::move(options), store_);
  }
  // "ip share", in thousandths of all.
  std::vector<std::string> shares(int family = AF_INET) {
    const auto endpoints = endpoints_of(*cluster_, family);
    double total = 0;
    for (const auto& endpoint : endpoints) total += endpoint.weight;
    std::vector<std::string> out;
    for (const auto& endpoint : endpoints) {
      out.push_back(endpoint.address.ip_string() + " " + std::to_string(std::lround(1000.0 * endpoint.weight / total)));
    }
    return out;
  }

  stats::Store store_{1};
  std::unique_ptr<upstream::Cluster> cluster_;
};

TEST_F(EndpointsOfTest, SharesByWeight) {
  make({{"10.0.0.1", 1}, {"10.0.0.2", 3}});
  EXPECT_THAT(shares(), UnorderedElementsAre("10.0.0.1 250", "10.0.0.2 750"));
}

TEST_F(EndpointsOfTest, LeavesOutWhoIsUnhealthy) {
  make({{"10.0.0.1"}, {"10.0.0.2"}, {"10.0.0.3"}});
  cluster_->hosts()[1]->set(upstream::HealthFlag::kFailedActiveHc);
  EXPECT_THAT(shares(), UnorderedElementsAre("10.0.0.1 500", "10.0.0.3 500"));
}

TEST_F(EndpointsOfTest, PanicTakesAll) {
  make({{"10.0.0.1"}, {"10.0.0.2"}, {"10.0.0.3"}});
  for (int i = 0; i < 2; ++i) cluster_->hosts()[static_cast<size_t>(i)]->set(upstream::HealthFlag::kFailedActiveHc);
  EXPECT_THAT(shares(), UnorderedElementsAre("10.0.0.1 333", "10.0.0.2 333", "10.0.0.3 333"));
}

TEST_F(EndpointsOfTest, SpillsOverToTheNextPriority) {
  make({{"10.0.0.1"}, {"10.0.0.2"}, {"10.1.0.1", 5, 1}});
  EXPECT_THAT(shares(), UnorderedElementsAre("10.0.0.1 500", "10.0.0.2 500"));
  cluster_->hosts()[0]->set(upstream::HealthFlag::kFailedActiveHc);  // half of it, times 1.4: 70 % stay
  EXPECT_THAT(shares(), UnorderedElementsAre("10.0.0.2 700", "10.1.0.1 300"));
}

TEST_F(EndpointsOfTest, OnlyOneFamilyFitsAService) {
  make({{"10.0.0.1"}, {"::1"}});
  EXPECT_THAT(shares(), UnorderedElementsAre("10.0.0.1 1000"));
  EXPECT_THAT(shares(AF_INET6), UnorderedElementsAre("::1 1000"));
}

}  // namespace
}  // namespace millrace::server
