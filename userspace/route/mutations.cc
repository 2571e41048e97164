#include "route/mutations.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "route/text.h"

namespace millrace::route {
namespace {

constexpr size_t kValuesOnStack = 32;

base::Result<void> check_name(std::string_view name, std::string_view verb) {
  if (name.starts_with(':') || name == "host") {
    return invalid(fmt::format("\":\"-prefixed and host headers may not be {}: \"{}\"", verb, name));
  }
  if (!http::valid_name(name)) return invalid(fmt::format("\"{}\" is not a header name", name));
  return {};
}

bool present(const http::HeaderMap& headers, http::Header id, std::string_view name) {
  return id == http::Header::kOther ? headers.has(name) : headers.has(id);
}

}  // namespace

base::Result<HeaderEdits> HeaderEdits::compile(const std::vector<HeaderToAdd>& add,
                                               const std::vector<std::string>& remove, std::string_view field) {
  HeaderEdits out;
  for (size_t i = 0; i < add.size(); ++i) {
    const auto fail = [&](const base::Error& error) {
      return invalid(fmt::format("{}_to_add[{}]: {}", field, i, error.what));
    };
    Add one;
    one.name = to_lower(add[i].name);
    if (auto ok = check_name(one.name, "modified"); !ok) return fail(ok.error());
    one.id = http::header_id(one.name);
    one.action = add[i].append_action;
    one.keep_empty = add[i].keep_empty_value;
    auto formatter = stream::Formatter::compile(add[i].value, {.empty_value = ""});
    if (!formatter) return fail(formatter.error());
    if (formatter->is_constant()) {
      one.constant = formatter->constant_text();
      if (!http::valid_value(one.constant)) return fail(invalid("the value has bytes that no header may carry"));
    } else {
      one.formatter.emplace(*std::move(formatter));
    }
    out.adds_.push_back(std::move(one));
  }
  for (size_t i = 0; i < remove.size(); ++i) {
    Remove one{to_lower(remove[i]), http::Header::kOther};
    if (auto ok = check_name(one.name, "removed"); !ok) {
      return invalid(fmt::format("{}_to_remove[{}]: {}", field, i, ok.error().what));
    }
    one.id = http::header_id(one.name);
    out.removes_.push_back(std::move(one));
  }
  return out;
}

// A null view: nothing to write.
std::string_view HeaderEdits::value_of(const Add& add, http::HeaderMap& headers,
                                       const stream::FormatContext& context) const {
  if (add.action == AppendAction::kAddIfAbsent && present(headers, add.id, add.name)) return {};
  if (add.action == AppendAction::kOverwriteIfExists && !present(headers, add.id, add.name)) return {};
  std::string_view value = add.constant;
  if (add.formatter) {
    thread_local std::string text;  // keeps its storage from request to request
    text.clear();
    add.formatter->append(context, text);
    if (!http::valid_value(text)) return {};
    if (!text.empty()) return headers.intern(text);
    value = "";
  }
  return value.empty() && !add.keep_empty ? std::string_view{} : value;
}

void HeaderEdits::apply(http::HeaderMap& headers, const stream::FormatContext& context) const {
  for (const Remove& one : removes_) {
    if (one.id == http::Header::kOther) {
      headers.remove(one.name);
    } else {
      headers.remove(one.id);
    }
  }
  if (adds_.empty()) return;
  std::array<std::string_view, kValuesOnStack> on_stack;
  std::vector<std::string_view> on_heap;
  std::string_view* values = on_stack.data();
  if (adds_.size() > kValuesOnStack) {
    on_heap.resize(adds_.size());
    values = on_heap.data();
  }
  for (size_t i = 0; i < adds_.size(); ++i) values[i] = value_of(adds_[i], headers, context);
  const auto overwrites = [](const Add& one) {
    return one.action == AppendAction::kOverwriteIfExistsOrAdd || one.action == AppendAction::kOverwriteIfExists;
  };
  for (size_t i = 0; i < adds_.size(); ++i) {
    if (values[i].data() == nullptr || !overwrites(adds_[i])) continue;
    if (adds_[i].id == http::Header::kOther) {
      headers.set(adds_[i].name, values[i]);
    } else {
      headers.set_view(adds_[i].id, values[i]);
    }
  }
  for (size_t i = 0; i < adds_.size(); ++i) {
    if (values[i].data() == nullptr || overwrites(adds_[i])) continue;
    if (adds_[i].id == http::Header::kOther) {
      headers.add_view(adds_[i].name, values[i]);
    } else {
      headers.add_view(adds_[i].id, values[i]);
    }
  }
}

}  // namespace millrace::route
