// Names resolved by c-ares over a loop of ours: its sockets are polled by the loop's backend, its timeouts are the
// loop's timers, so a slow server delays nobody. /etc/hosts and the order of sources in nsswitch.conf are honoured;
// servers are those of the options or of resolv.conf, which is read again after a server could not be reached. Of the
// loop's thread.
#pragma once
#include <string>
#include <vector>

#include "base/result.h"
#include "io/loop.h"
#include "stats/schema.h"
#include "stats/stats.h"
#include "upstream/dns_resolver.h"

struct ares_channeldata;

namespace millrace::upstream {

// Statistics "dns.cares.".
enum CaresStat : uint16_t { kDnsResolveTotal, kDnsPendingResolutions, kDnsNotFound, kDnsTimeout, kDnsGetAddrFailure };
const stats::Schema& cares_schema();

class CaresResolver final : public DnsResolver {
 public:
  // The loop's turns finish what stop() leaves in the kernel's hands.
  static base::Result<std::unique_ptr<CaresResolver>> make(const CaresOptions& options, io::Loop& loop,
                                                           stats::StatShard stats);
  ~CaresResolver() override;
  // No more callbacks; two turns of the loop later this may be destroyed.
  void stop();

  std::unique_ptr<Query> resolve(const std::string& name, DnsFamily family,
                                 std::function<void(DnsAnswer)> done) override;
  std::unique_ptr<Query> resolve_services(const std::string& name, std::function<void(DnsServices)> done) override;

 private:
  class Socket;
  struct Question;  // in c-ares' hands
  struct AddressQuestion;
  struct ServiceQuestion;

  CaresResolver(CaresOptions options, io::Loop& loop, stats::StatShard stats);
  base::Result<void> open_channel();
  void ask(std::shared_ptr<AddressQuestion> question);
  void asked();
  template <class Done>
  void deliver(Done done);
  bool failed(int status, const std::string& name, std::string& what);
  void on_timeout();
  void rearm();
  void on_socket(int fd, bool read, bool write);
  void forget(Socket& socket);

  const CaresOptions options_;
  io::Loop& loop_;
  stats::StatShard stats_;
  ares_channeldata* channel_ = nullptr;
  std::vector<std::unique_ptr<Socket>> sockets_;
  size_t pending_ = 0;      // questions in c-ares' hands
  int64_t pending_shown_ = 0;
  bool reopen_ = false;     // once nothing is pending
  bool stopped_ = false;
  io::TimerOf<&CaresResolver::on_timeout> timeout_;
};

}  // namespace millrace::upstream
