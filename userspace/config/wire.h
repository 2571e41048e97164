// Messages in protobuf's wire form, without building them: what /config_dump picks, trims and puts together. A view
// that comes out of one stays within the bytes it was given. https://protobuf.dev/programming-guides/encoding/
#pragma once
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::config {

struct WireField {
  int number = 0;
  std::string_view bytes;  // tag and all
  std::string_view value;  // of a length-delimited field (message, string, bytes, packed numbers): without its length
  bool delimited = false;
};

// Takes the field at the front of what is left of a message. False: there is none, or what is left is no field.
bool next_wire_field(std::string_view& rest, WireField& field);
// In their order; of bytes that are no message, what comes before the break.
std::vector<WireField> wire_fields(std::string_view message);
// What messages hold at a path of length-delimited fields, each of which may be repeated.
std::vector<std::string_view> wire_values(std::string_view message, std::initializer_list<int> path);
// The last of a field's values, as a reader takes it; empty when absent.
std::string_view wire_value(std::string_view message, int number);
void append_wire(std::string& to, int number, std::string_view value);

}  // namespace millrace::config
