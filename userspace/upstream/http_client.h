// A connection to a host with an HTTP codec on it, as its pool and its requests see it: Http1Client, Http2Client. Keeps
// the books of the connection (account, limits, idle timer); what is said on it is the codec's business. Allocated by
// its pool, retires itself when closed. One worker.
//
//   connecting --connected--> has room <--> full --drain(), a limit met--> draining --last request over--> gone
//        \___________________________\__________\___close()____________________\_________________________/
#pragma once
#include "base/list.h"
#include "io/loop.h"
#include "net/connection.h"
#include "upstream/connection_account.h"
#include "upstream/thread_local_cluster.h"
#include "upstream/upstream_request.h"

namespace millrace::upstream {

class HttpPool;

class HttpClient : public io::Retired, protected net::ConnectionHandler,
                   public base::ListHook<HttpClient> {
 public:
  ~HttpClient() override;

  // ---- for the pool
  // Takes the request, which may be sent now. There is room.
  virtual void attach(UpstreamRequest& request) = 0;
  // No request after those it has; closes when they are over, now if there are none.
  virtual void drain() = 0;
  // Closes now; its requests hear kLocalReset.
  virtual void abort() = 0;
  virtual bool idle() const = 0;                   // connected, and has no request
  uint32_t room() const { return room_; }          // requests that it takes now
  uint32_t expected() const { return expected_; }  // and that it may take once it is connected and has said so
  bool connected() const { return connected_; }
  void arm_idle_timer();

  // ---- for requests that it has
  [[nodiscard]] virtual bool send_headers(UpstreamRequest& request, const http::HeaderMap& headers,
                                          bool end_stream) = 0;
  virtual void send_data(UpstreamRequest& request, base::Buffer& data, bool end_stream) = 0;
  virtual void send_trailers(UpstreamRequest& request, const http::HeaderMap& trailers) = 0;
  virtual void cancel(UpstreamRequest& request) = 0;
  virtual void pause_reading(UpstreamRequest& request) = 0;
  virtual void resume_reading(UpstreamRequest& request) = 0;
  virtual stream::Protocol protocol() const = 0;
  net::Connection* connection() const { return connection_.get(); }
  std::shared_ptr<const UpstreamConnectionInfo> connection_info() {
    return connection_ == nullptr ? nullptr : account_->info(*connection_);
  }
  // Whether it carried a request before the one it was given last.
  bool reused() const { return requests_ > 1; }

 protected:
  using EndedBy = ConnectionAccount::EndedBy;
  // How long a connection may take to send what is left when it is closed after that.
  static constexpr base::milliseconds kFlushDelay{1000};

  HttpClient(HttpPool& pool, uint32_t expected);
  // Goes on with the connection of another, which has just been made and turns out to speak this one's protocol.
  HttpClient(HttpClient& from, uint32_t expected);
  void on_connected(net::Connection& connection) override;
  void on_error(net::Connection& connection, const base::Error& error) override;
  // The connection is there: what is to be said before any request. room_ is set here.
  virtual void on_open() = 0;
  // It broke after that.
  virtual void on_broken(const base::Error& error) = 0;

  const ClusterOptions& options() const { return account_->cluster().cluster().options(); }
  stats::StatShard& stats() const { return account_->cluster().stats(); }
  // Counts, and makes the request ours; release_request() undoes it and leaves the request idle.
  void take_request(UpstreamRequest& request);
  void release_request(UpstreamRequest& request);
  // with_requests: some were under way; released before.
  void close(net::CloseMode mode, EndedBy by, bool with_requests);
  void set_expected(uint32_t requests);

  HttpPool& pool_;
  std::unique_ptr<ConnectionAccount> account_;
  std::unique_ptr<net::Connection> connection_;  // null once closed
  uint32_t requests_ = 0;
  uint32_t room_ = 0;
  bool last_request_ = false;  // draining: no other follows

 private:
  void opened();
  void on_idle_timeout();
  void on_max_duration();

  uint32_t expected_;
  bool connected_ = false;
  io::TimerOf<&HttpClient::on_idle_timeout> idle_timer_;
  io::TimerOf<&HttpClient::on_max_duration> duration_timer_;
};

}  // namespace millrace::upstream
