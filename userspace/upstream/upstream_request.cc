#include "upstream/upstream_request.h"

#include "upstream/http_client.h"
#include "upstream/http_pool.h"

namespace millrace::upstream {

std::string_view name(ResetReason reason) {
  switch (reason) {
    case ResetReason::kLocalConnectionFailure: return "local connection failure";
    case ResetReason::kRemoteConnectionFailure: return "remote connection failure";
    case ResetReason::kConnectionTimeout: return "connection timeout";
    case ResetReason::kConnectionTermination: return "connection termination";
    case ResetReason::kRemoteReset: return "remote reset";
    case ResetReason::kRemoteRefusedStream: return "remote refused stream reset";
    case ResetReason::kProtocolError: return "protocol error";
    case ResetReason::kOverflow: return "overflow";
    case ResetReason::kLocalReset: return "local reset";
  }
  return "";
}

ResetReason connect_failure_reason(const base::Error& error) {
  switch (error.code) {
    case base::ErrorCode::kTimeout: return ResetReason::kConnectionTimeout;
    case base::ErrorCode::kResourceExhausted:
    case base::ErrorCode::kInvalidArgument:
    case base::ErrorCode::kUnsupported: return ResetReason::kLocalConnectionFailure;
    default: return ResetReason::kRemoteConnectionFailure;
  }
}

bool UpstreamRequest::send_headers(const http::HeaderMap& headers, bool end_stream) {
  return client_ == nullptr || client_->send_headers(*this, headers, end_stream);
}

void UpstreamRequest::send_data(base::Buffer& data, bool end_stream) {
  if (client_ == nullptr) return data.clear();
  client_->send_data(*this, data, end_stream);
}

void UpstreamRequest::send_trailers(const http::HeaderMap& trailers) {
  if (client_ != nullptr) client_->send_trailers(*this, trailers);
}

void UpstreamRequest::cancel() {
  if (state_ == State::kPending) {
    pool_->cancel(*this);
  } else if (state_ == State::kActive) {
    client_->cancel(*this);
  }
}

void UpstreamRequest::pause_reading() {
  if (client_ != nullptr && pauses_++ == 0) client_->pause_reading(*this);
}

void UpstreamRequest::resume_reading() {
  if (client_ == nullptr || pauses_ == 0) return;
  if (--pauses_ == 0) client_->resume_reading(*this);
}

stream::Protocol UpstreamRequest::protocol() const {
  return client_ == nullptr ? stream::Protocol::kNone : client_->protocol();
}

net::Connection* UpstreamRequest::connection() const { return client_ == nullptr ? nullptr : client_->connection(); }

std::shared_ptr<const UpstreamConnectionInfo> UpstreamRequest::connection_info() const {
  return client_ == nullptr ? nullptr : client_->connection_info();
}

bool UpstreamRequest::reused_connection() const { return client_ != nullptr && client_->reused(); }

}  // namespace millrace::upstream
