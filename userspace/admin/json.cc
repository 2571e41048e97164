#include "admin/json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace millrace::admin {

std::string json_string(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string address_json(const net::Address& address) {
  if (!address.is_ip()) return fmt::format(R"({{"pipe":{{"path":{}}}}})", json_string(address.path()));
  return fmt::format(R"({{"socket_address":{{"address":{},"port_value":{}}}}})", json_string(address.ip_string()),
                     address.port());
}

}  // namespace millrace::admin
