// Bits of JSON for the pages that write theirs a slice at a time, without building a document.
#pragma once
#include <string>
#include <string_view>

#include "net/address.h"

namespace millrace::admin {

// With its quotes. Bytes that are not UTF-8 become U+FFFD.
std::string json_string(std::string_view text);
// config.core.v3.Address: {"socket_address":{...}} or {"pipe":{...}}.
std::string address_json(const net::Address& address);

}  // namespace millrace::admin
