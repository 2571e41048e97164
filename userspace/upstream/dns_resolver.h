// Asks for the addresses of names. One thread's: the callbacks come from its loop, never from within resolve(). Where
// an answer comes from (resolv.conf, /etc/hosts, which servers) is the resolver's matter; see cares_resolver.h. Tests
// have a resolver of their own.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "net/address.h"
#include "upstream/options.h"

namespace millrace::upstream {

enum class DnsStatus : uint8_t {
  kAnswered,  // perhaps with nothing: the name does not exist, or has no such records
  kFailed,    // nobody answered, or a server could not; what was known before stays true
};

struct DnsAnswer {
  DnsStatus status = DnsStatus::kFailed;
  std::vector<net::Address> addresses;  // as they came, without ports
  base::seconds ttl{0};                 // the least of all records'; 0: none was said
  std::string what;                     // of a failure
};

// A record of RFC 2782.
struct DnsService {
  uint16_t priority = 0;  // the lowest first
  uint16_t weight = 0;
  uint16_t port = 0;
  std::string target;
};
struct DnsServices {
  DnsStatus status = DnsStatus::kFailed;
  std::vector<DnsService> services;
  base::seconds ttl{0};
  std::string what;
};

class DnsResolver {
 public:
  // A question under way; destroying it, also from within the callback, means that nobody wants the answer any more.
  class Query {
   public:
    virtual ~Query() = default;
  };
  virtual ~DnsResolver() = default;
  virtual std::unique_ptr<Query> resolve(const std::string& name, DnsFamily family,
                                         std::function<void(DnsAnswer)> done) = 0;
  virtual std::unique_ptr<Query> resolve_services(const std::string& name,
                                                  std::function<void(DnsServices)> done) = 0;
};

}  // namespace millrace::upstream
