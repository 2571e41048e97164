#include "stream/grpc_status.h"

#include <charconv>

#include "base/hex.h"

namespace millrace::stream {
namespace {

constexpr std::string_view kNames[][2] = {
    {"OK", "OK"},
    {"Canceled", "CANCELLED"},
    {"Unknown", "UNKNOWN"},
    {"InvalidArgument", "INVALID_ARGUMENT"},
    {"DeadlineExceeded", "DEADLINE_EXCEEDED"},
    {"NotFound", "NOT_FOUND"},
    {"AlreadyExists", "ALREADY_EXISTS"},
    {"PermissionDenied", "PERMISSION_DENIED"},
    {"ResourceExhausted", "RESOURCE_EXHAUSTED"},
    {"FailedPrecondition", "FAILED_PRECONDITION"},
    {"Aborted", "ABORTED"},
    {"OutOfRange", "OUT_OF_RANGE"},
    {"Unimplemented", "UNIMPLEMENTED"},
    {"Internal", "INTERNAL"},
    {"Unavailable", "UNAVAILABLE"},
    {"DataLoss", "DATA_LOSS"},
    {"Unauthenticated", "UNAUTHENTICATED"},
};
constexpr int64_t kNameCount = sizeof kNames / sizeof kNames[0];

std::optional<int64_t> from_map(const http::HeaderMap* map) {
  if (map == nullptr || !map->has(http::Header::kGrpcStatus)) return std::nullopt;
  const std::string_view text = map->get(http::Header::kGrpcStatus);
  uint32_t status = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), status);
  if (error != std::errc() || end != text.data() + text.size()) return kGrpcInvalidCode;
  return status;
}

}  // namespace

int64_t grpc_status_of_http(uint16_t response_code) {
  switch (response_code) {
    case 400: return 13;
    case 401: return 16;
    case 403: return 7;
    case 404: return 12;
    case 429:
    case 502:
    case 503:
    case 504: return 14;
    default: return kGrpcUnknown;
  }
}

uint16_t http_status_of_grpc(int64_t status) {
  constexpr uint16_t kStatuses[] = {200, 499, 500, 400, 504, 404, 409, 403, 429,
                                    400, 409, 400, 501, 500, 503, 500, 401};
  static_assert(sizeof kStatuses / sizeof kStatuses[0] == kNameCount);
  return status >= 0 && status < kNameCount ? kStatuses[status] : 500;
}

std::string grpc_message_encoded(std::string_view text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (c >= ' ' && c <= '~' && c != '%') {
      out += c;
    } else {
      const auto byte = static_cast<uint8_t>(c);
      out += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return out;
}

std::string grpc_message_decoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const bool may_be_escape = text[i] == '%' && i + 2 < text.size();
    const int high = may_be_escape ? base::hex_digit(text[i + 1]) : -1;
    const int low = may_be_escape ? base::hex_digit(text[i + 2]) : -1;
    const bool escape = high >= 0 && low >= 0;
    out += escape ? static_cast<char>(high << 4 | low) : text[i];
    if (escape) i += 2;
  }
  return out;
}

bool is_grpc_request(const http::HeaderMap* request_headers) {
  if (request_headers == nullptr) return false;
  constexpr std::string_view kType = "application/grpc";
  const std::string_view type = request_headers->get(http::Header::kContentType);
  return type.starts_with(kType) && (type.size() == kType.size() || type[kType.size()] == '+');
}

std::optional<int64_t> grpc_status(const http::HeaderMap* trailers, const http::HeaderMap* headers,
                                   uint16_t response_code) {
  if (const auto status = from_map(trailers)) return status;
  if (const auto status = from_map(headers)) return status;
  if (response_code == 0) return std::nullopt;
  return grpc_status_of_http(response_code);
}

std::string_view grpc_camel_name(int64_t status) {
  return status >= 0 && status < kNameCount ? kNames[status][0] : std::string_view();
}

std::string_view grpc_snake_name(int64_t status) {
  return status >= 0 && status < kNameCount ? kNames[status][1] : std::string_view();
}

}  // namespace millrace::stream
