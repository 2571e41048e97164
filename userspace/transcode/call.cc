// One call through the transcoder: the bodies of its request and response.
#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include "http/header_map.h"
#include "transcode/json_array.h"
#include "transcode/method.h"

namespace millrace::transcode {

namespace pb = google::protobuf;

namespace {

constexpr std::string_view kJson = "application/json";

base::Error wrong(std::string what, base::Side side) {
  return base::Error{base::ErrorCode::kProtocol, side, 0, std::move(what)};
}

bool blank(std::string_view text) { return text.find_first_not_of(" \t\r\n") == std::string_view::npos; }

void put_varint(uint64_t value, std::string& out) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}
// A length-delimited field.
void put_bytes(int field, std::string_view bytes, std::string& out) {
  put_varint(static_cast<uint64_t>(field) << 3 | 2, out);
  put_varint(bytes.size(), out);
  out += bytes;
}

// What proto's JSON has for a field that a message leaves out.
std::string_view default_json(const pb::FieldDescriptor& field) {
  if (field.is_map()) return "{}";
  if (field.is_repeated()) return "[]";
  switch (field.cpp_type()) {
    case pb::FieldDescriptor::CPPTYPE_BOOL: return "false";
    case pb::FieldDescriptor::CPPTYPE_STRING: return "\"\"";
    case pb::FieldDescriptor::CPPTYPE_INT64:
    case pb::FieldDescriptor::CPPTYPE_UINT64: return "\"0\"";
    case pb::FieldDescriptor::CPPTYPE_MESSAGE: return "{}";
    default: return "0";
  }
}

class Call final : public filter::TranscodedCall {
 public:
  Call(const EngineCore& core, const Method& method, Bindings bindings, std::string_view content_type)
      : core_(core), method_(method), bindings_(std::move(bindings)), request_type_(content_type),
        elements_(core.options.stream_message_bytes_max) {}

  std::string_view grpc_path() const override { return method_.grpc_path; }
  bool client_streaming() const override { return method_.descriptor->client_streaming(); }
  bool server_streaming() const override { return method_.descriptor->server_streaming(); }
  bool raw_response() const override { return method_.raw_response; }
  std::string_view content_type() const override { return response_type_; }

  base::Result<void> request(base::Buffer& body, bool end, base::Buffer& grpc) override;
  base::Result<void> response(http::GrpcMessage& message, base::Buffer& body) override;
  void response_end(base::Buffer& body) override;
  std::string status(int64_t code, std::string_view message, std::string_view details) const override;

 private:
  base::Result<void> raw_request(base::Buffer& body, bool end, base::Buffer& grpc);
  base::Result<void> array_request(base::Buffer& body, bool end, base::Buffer& grpc);
  // The message of one JSON text (none: of the bindings alone), as a frame.
  base::Result<void> one_request(std::string_view json, base::Buffer& grpc);
  base::Result<std::string> body_message(std::string_view json) const;
  base::Result<void> send(const std::string& from_body, base::Buffer& grpc);
  base::Result<void> raw_message(pb::Message& message, base::Buffer& body);
  base::Result<std::string> field_json(const std::string& binary) const;

  const EngineCore& core_;
  const Method& method_;
  Bindings bindings_;
  const std::string request_type_;
  JsonArraySplitter elements_;
  std::string response_type_{kJson};
  uint64_t requests_ = 0, responses_ = 0;
};

// ---- the request

base::Result<void> Call::request(base::Buffer& body, bool end, base::Buffer& grpc) {
  if (method_.raw_request) return raw_request(body, end, grpc);
  if (method_.body == Body::kNone) {
    body.clear();  // nothing is bound to it
    return end ? one_request({}, grpc) : base::Result<void>();
  }
  if (client_streaming()) return array_request(body, end, grpc);
  if (!end) return wrong("the body is not complete", base::Side::kInternal);
  const std::string json = body.to_string();
  body.clear();
  return one_request(json, grpc);
}

base::Result<void> Call::raw_request(base::Buffer& body, bool end, base::Buffer& grpc) {
  if (body.empty() && (!end || requests_ > 0)) return {};
  std::string raw;
  if (requests_ == 0 && !request_type_.empty()) put_bytes(1, request_type_, raw);
  put_bytes(2, body.linearize(body.size()), raw);
  body.clear();
  std::string whole;
  if (method_.body == Body::kField) put_bytes(method_.body_field->number(), raw, whole);
  return send(method_.body == Body::kField ? whole : raw, grpc);
}

base::Result<void> Call::array_request(base::Buffer& body, bool end, base::Buffer& grpc) {
  while (!body.empty()) {
    const std::string_view piece = body.front();
    auto done = elements_.feed(piece, [&](std::string_view element) { return one_request(element, grpc); });
    if (!done.ok()) return done;
    body.drain(piece.size());
  }
  if (!end) return {};
  if (!elements_.complete()) return elements_.error();
  if (requests_ == 0 && !bindings_.empty()) return one_request({}, grpc);
  return {};
}

base::Result<std::string> Call::body_message(std::string_view json) const {
  const pb::Descriptor& type = *method_.descriptor->input_type();
  if (blank(json)) return std::string();
  if (method_.body == Body::kWhole) return core_.messages->from_json(type, json);
  // As the field of a whole message. Only one value may stand there, or it could set other fields.
  JsonArraySplitter values(json.size() + 1);
  int count = 0;
  const auto check = values.feed(fmt::format("[{}]", json), [&](std::string_view) {
    ++count;
    return base::Result<void>();
  });
  if (!check.ok() || !values.complete() || count != 1) {
    return wrong("the body is not one JSON value", base::Side::kDownstream);
  }
  return core_.messages->from_json(type, fmt::format("{{\"{}\":{}}}", method_.body_field->json_name(), json));
}

base::Result<void> Call::one_request(std::string_view json, base::Buffer& grpc) {
  base::Result<std::string> from_body = body_message(json);
  if (!from_body.ok()) return wrong(from_body.error().what, base::Side::kDownstream);
  return send(*from_body, grpc);
}

// Bindings belong to the first message; what the body says wins over them.
base::Result<void> Call::send(const std::string& from_body, base::Buffer& grpc) {
  if (requests_++ > 0 || bindings_.empty()) {
    http::append_grpc_frame(from_body, grpc);
    return {};
  }
  const pb::Descriptor& type = *method_.descriptor->input_type();
  const std::unique_ptr<pb::Message> message = core_.messages->make(type);
  for (const auto& [field, text] : bindings_) {
    if (auto ok = set_field(*message, field, text, *core_.messages); !ok) return ok;
  }
  if (core_.options.reject_binding_body_field_collisions) {
    const std::unique_ptr<pb::Message> body = core_.messages->make(type);
    if (!body->ParseFromString(from_body)) return wrong("the body cannot be read", base::Side::kInternal);
    for (const auto& [field, text] : bindings_) {
      if (!differ(*message, *body, field)) continue;
      return wrong(fmt::format("The field {} has another value in the body.", field.back()->name()),
                   base::Side::kDownstream);
    }
  }
  if (!message->MergeFromString(from_body)) return wrong("the body cannot be read", base::Side::kInternal);
  http::append_grpc_frame(message->SerializeAsString(), grpc);
  return {};
}

// ---- the response

base::Result<void> Call::response(http::GrpcMessage& message, base::Buffer& body) {
  if (message.compressed()) return wrong("the upstream compressed a message", base::Side::kUpstream);
  const pb::Descriptor& type = *method_.descriptor->output_type();
  const bool first = responses_++ == 0;
  if (!first && !server_streaming()) return wrong("the upstream sent two messages", base::Side::kUpstream);
  if (method_.raw_response) {
    const std::unique_ptr<pb::Message> whole = core_.messages->make(type);
    if (!whole->ParseFromString(message.bytes.to_string())) {
      return wrong("the upstream's message cannot be read", base::Side::kUpstream);
    }
    if (method_.response_field == nullptr) return raw_message(*whole, body);
    return raw_message(*whole->GetReflection()->MutableMessage(whole.get(), method_.response_field), body);
  }
  const std::string binary = message.bytes.to_string();
  const base::Result<std::string> json =
      method_.response_field == nullptr ? core_.messages->to_json(type, binary) : field_json(binary);
  if (!json.ok()) return wrong(json.error().what, base::Side::kUpstream);
  const bool array = server_streaming() && !core_.options.stream_newline_delimited;
  if (array) body.append(first ? "[" : ",");
  body.append(*json);
  if (server_streaming() && !array) body.append("\n");
  return {};
}

base::Result<void> Call::raw_message(pb::Message& message, base::Buffer& body) {
  const pb::Descriptor& type = *message.GetDescriptor();
  const pb::Reflection& reflection = *message.GetReflection();
  const pb::FieldDescriptor* kind = type.FindFieldByName("content_type");
  const pb::FieldDescriptor* data = type.FindFieldByName("data");
  if (kind == nullptr || data == nullptr) return wrong("google.api.HttpBody lacks a field", base::Side::kInternal);
  std::string name = reflection.GetString(message, kind);
  if (responses_ == 1 && !name.empty() && http::valid_value(name)) response_type_ = std::move(name);
  body.append(reflection.GetString(message, data));
  return {};
}

// The value of the one field, out of a message that has no other.
base::Result<std::string> Call::field_json(const std::string& binary) const {
  const pb::Descriptor& type = *method_.descriptor->output_type();
  const std::unique_ptr<pb::Message> message = core_.messages->make(type);
  if (!message->ParseFromString(binary)) return wrong("the upstream's message cannot be read", base::Side::kUpstream);
  message->DiscardUnknownFields();
  std::vector<const pb::FieldDescriptor*> set;
  message->GetReflection()->ListFields(*message, &set);
  bool there = false;
  for (const pb::FieldDescriptor* field : set) {
    if (field == method_.response_field) {
      there = true;
    } else {
      message->GetReflection()->ClearField(message.get(), field);
    }
  }
  if (!there) return std::string(default_json(*method_.response_field));
  base::Result<std::string> json = core_.messages->to_json(type, message->SerializeAsString());
  if (!json.ok()) return json;
  const JsonOptions& options = core_.messages->options();
  const pb::FieldDescriptor& wanted = *method_.response_field;
  const std::string key =
      fmt::format("\"{}\":", options.preserve_proto_field_names ? wanted.name() : wanted.json_name());
  // With always_print_primitive_fields others are there too, with their defaults.
  JsonArraySplitter members(json->size() + 1);
  std::string found;
  const size_t open = json->find('{'), close = json->rfind('}');
  if (open == std::string::npos || close == std::string::npos) return wrong("no JSON object", base::Side::kInternal);
  const std::string list = fmt::format("[{}]", json->substr(open + 1, close - open - 1));
  const auto done = members.feed(list, [&](std::string_view m) {
    m.remove_prefix(std::min(m.find_first_not_of(" \t\r\n"), m.size()));
    if (m.starts_with(key)) found = std::string(m.substr(key.size()));
    return base::Result<void>();
  });
  if (!done.ok()) return done.error();
  const size_t from = found.find_first_not_of(" \t\r\n");
  if (from == std::string::npos) return wrong("the field is not in its JSON", base::Side::kInternal);
  return found.substr(from, found.find_last_not_of(" \t\r\n") - from + 1);
}

void Call::response_end(base::Buffer& body) {
  if (!server_streaming() || method_.raw_response || core_.options.stream_newline_delimited) return;
  body.append(responses_ == 0 ? "[]" : "]");
}

std::string Call::status(int64_t code, std::string_view message, std::string_view details) const {
  const pb::Descriptor* type = core_.messages->find_message("google.rpc.Status");
  if (type == nullptr) return {};
  if (!details.empty() && core_.messages->make(*type)->ParseFromString(std::string(details))) {
    if (auto json = core_.messages->to_json(*type, std::string(details)); json.ok()) return *std::move(json);
  }
  std::string binary;
  put_varint(1 << 3, binary);
  put_varint(static_cast<uint64_t>(code), binary);
  if (!message.empty()) put_bytes(2, message, binary);
  auto json = core_.messages->to_json(*type, binary);
  return json.ok() ? *std::move(json) : std::string();
}

}  // namespace

std::unique_ptr<filter::TranscodedCall> make_call(const EngineCore& core, const Method& method, Bindings bindings,
                                                  std::string_view content_type) {
  return std::make_unique<Call>(core, method, std::move(bindings), content_type);
}

}  // namespace millrace::transcode
