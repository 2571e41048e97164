#include <fmt/format.h>

#include <iterator>

#include "admin/html.h"
#include "admin/pages.h"

namespace millrace::admin {
namespace {

std::string_view form_id(std::string_view path) { return path.substr(1); }

void append_field(std::string& out, const PageParameter& parameter, std::string_view form) {
  const auto to = std::back_inserter(out);
  fmt::format_to(to, "<tr class=p><td><label>{} ", parameter.name);
  if (parameter.choices.empty()) {
    fmt::format_to(to, "<input form=\"{}\" name=\"{}\">", form, parameter.name);
  } else {
    fmt::format_to(to, "<select form=\"{}\" name=\"{}\"><option></option>", form, parameter.name);
    for (std::string_view rest = parameter.choices; !rest.empty();) {
      const std::string_view choice = rest.substr(0, rest.find('|'));
      rest.remove_prefix(choice.size() < rest.size() ? choice.size() + 1 : rest.size());
      fmt::format_to(to, "<option>{}</option>", choice);
    }
    out += "</select>";
  }
  fmt::format_to(to, "</label></td><td>{}</td></tr>\n", html_escaped(parameter.help));
}

// A parameter that is there or not cannot be a text field: a form would always send it.
bool is_flag(const PageParameter& parameter) {
  return parameter.choices.empty() &&
         (parameter.name == "usedonly" || parameter.name == "text_readouts" || parameter.name == "include_eds" ||
          parameter.name == "graceful" || parameter.name == "skip_exit" || parameter.name == "inboundonly");
}

void append_page(std::string& out, const Page& page) {
  const auto to = std::back_inserter(out);
  const std::string_view id = form_id(page.path);
  if (page.acts) {
    fmt::format_to(to, "<tr><td><form id=\"{0}\" method=post action=\"{0}\"><button>{0}</button></form></td>", id);
  } else if (page.parameters.empty()) {
    fmt::format_to(to, "<tr><td><a href=\"{0}\">{0}</a></td>", id.empty() ? "." : id);
  } else {
    fmt::format_to(to,
                   "<tr><td><form id=\"{0}\" action=\"{0}\"><a href=\"{0}\">{0}</a> <button>show</button></form></td>",
                   id);
  }
  fmt::format_to(to, "<td>{}</td></tr>\n", html_escaped(page.help));
  for (const PageParameter& parameter : page.parameters) {
    if (!is_flag(parameter)) {
      append_field(out, parameter, id);
      continue;
    }
    fmt::format_to(to, "<tr class=p><td><label>{0} <input type=checkbox form=\"{1}\" name=\"{0}\"></label></td>"
                       "<td>{2}</td></tr>\n", parameter.name, id, html_escaped(parameter.help));
  }
}

}  // namespace

std::string html_escaped(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string html_head(std::string_view title) {
  return fmt::format(
      "<!doctype html>\n<html lang=en><head><meta charset=utf-8><title>{}</title>\n"
      "<style>body{{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}}"
      "table{{border-collapse:collapse}}td{{padding:.25em 1em .25em 0;vertical-align:top}}"
      "tr:not(.p) td{{border-top:1px solid #ddd}}.p td{{padding-left:2em;color:#555;font-size:90%}}"
      "form{{margin:0;display:inline}}</style></head>\n<body>",
      html_escaped(title));
}

Response answer_index(const Request&, AdminContext&) {
  Response response;
  response.content_type = kHtmlType;
  response.text = html_head("Millrace admin") +
                  "<h1>Millrace admin</h1>\n<p>Links show, buttons with a path change the server.</p>\n<table>\n";
  for (const Page& page : pages()) append_page(response.text, page);
  response.text += "</table></body></html>\n";
  return response;
}

}  // namespace millrace::admin
