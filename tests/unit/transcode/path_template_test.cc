#include "transcode/path_template.h"

#include <gtest/gtest.h>

namespace millrace::transcode {
namespace {

// "id field=value field=value" of what is found.
std::string found(const PathTable& table, std::string_view method, std::string_view path) {
  const auto match = table.find(method, path);
  if (!match) return "none";
  std::string out = std::to_string(match->id);
  for (const PathBinding& b : match->bindings) out += " " + std::string(b.field) + "=" + b.value;
  return out;
}

PathTable table_of(std::initializer_list<const char*> templates, UrlUnescape unescape = UrlUnescape::kAllButReserved,
                   bool any_verb = false) {
  PathTable table(unescape, any_verb);
  uint32_t id = 0;
  for (const char* text : templates) {
    auto parsed = PathTemplate::parse(text);
    EXPECT_TRUE(parsed.ok() && table.add("GET", *parsed, id++).ok()) << text;
  }
  return table;
}

TEST(PathTemplate, MatchesLiteralsAndVariables) {
  const PathTable table = table_of({"/shelves", "/shelves/{shelf}", "/shelves/{shelf}/books/{book.id}", "/a/*/c"});
  EXPECT_EQ(found(table, "GET", "/shelves"), "0");
  EXPECT_EQ(found(table, "GET", "/shelves/12"), "1 shelf=12");
  EXPECT_EQ(found(table, "GET", "/shelves/12/books/7"), "2 shelf=12 book.id=7");
  EXPECT_EQ(found(table, "GET", "/a/x/c"), "3");
  for (const char* path : {"/", "/shelves/", "/shelf", "/shelves/1/books", "/a//c", "shelves", ""}) {
    EXPECT_EQ(found(table, "GET", path), "none") << path;
  }
  EXPECT_EQ(found(table, "POST", "/shelves"), "none");
}

TEST(PathTemplate, PrefersLiteralsToStarsAndStarsToDoubleStars) {
  const PathTable table = table_of({"/a/**", "/a/*", "/a/b", "/a/*/d", "/a/b/c"});
  EXPECT_EQ(found(table, "GET", "/a/b"), "2");
  EXPECT_EQ(found(table, "GET", "/a/x"), "1");
  EXPECT_EQ(found(table, "GET", "/a/b/d"), "3");
  EXPECT_EQ(found(table, "GET", "/a/b/x"), "0");
  EXPECT_EQ(found(table, "GET", "/a"), "0");
}

TEST(PathTemplate, VariablesMayHaveSegmentsOfTheirOwn) {
  const PathTable table =
      table_of({"/v1/{name=shelves/*/books/*}", "/v2/{name=files/**}", "/v3/{name=**}/end/{last}", "/v4/{x=**}:go"});
  EXPECT_EQ(found(table, "GET", "/v1/shelves/1/books/2"), "0 name=shelves/1/books/2");
  EXPECT_EQ(found(table, "GET", "/v2/files/a/b/c"), "1 name=files/a/b/c");
  EXPECT_EQ(found(table, "GET", "/v2/files"), "1 name=files");
  EXPECT_EQ(found(table, "GET", "/v3/a/b/end/z"), "2 name=a/b last=z");
  EXPECT_EQ(found(table, "GET", "/v4/a/b:go"), "3 x=a/b");
  EXPECT_EQ(found(table, "GET", "/v4/a/b"), "none");
}

TEST(PathTemplate, VerbsAreTakenOffWhenTheyAreKnown) {
  const std::initializer_list<const char*> templates = {"/a/{x}", "/a/{x}:go"};
  const PathTable known = table_of(templates);
  EXPECT_EQ(found(known, "GET", "/a/b:go"), "1 x=b");
  EXPECT_EQ(found(known, "GET", "/a/b:stop"), "0 x=b:stop");
  const PathTable any = table_of(templates, UrlUnescape::kAllButReserved, true);
  EXPECT_EQ(found(any, "GET", "/a/b:stop"), "none");
}

TEST(PathTemplate, DecodesVariables) {
  const std::string path = "/one/%2f%23%20%2523/more";
  const auto deep = [&](UrlUnescape unescape) { return found(table_of({"/one/{x=**}"}, unescape), "GET", path); };
  EXPECT_EQ(deep(UrlUnescape::kAllButReserved), "0 x=%2f%23 %23/more");
  EXPECT_EQ(deep(UrlUnescape::kAllButSlash), "0 x=%2f# %23/more");
  EXPECT_EQ(deep(UrlUnescape::kAll), "0 x=/# %23/more");
  EXPECT_EQ(found(table_of({"/one/{x}/more"}), "GET", path), "0 x=/# %23");
  EXPECT_EQ(url_decoded("a+b%2", UrlUnescape::kAll, true), "a b%2");
  EXPECT_EQ(url_decoded("a+b%zz", UrlUnescape::kAll, false), "a+b%zz");
}

TEST(PathTemplate, RefusesWhatIsNone) {
  for (const char* text : {"", "a", "/", "/a/", "/{", "/{a", "/{a=", "/{a=}", "/{a=b", "/{1a}", "/{a.}", "/{a={b}}",
                           "/a*", "/**/**", "/{a}/{a}", "/a:", "/a:b/c", "/a}", "/{a=**}/x/**", "/a:b:c"}) {
    EXPECT_FALSE(PathTemplate::parse(text).ok()) << text;
  }
}

TEST(PathTemplate, TheSamePathTwiceIsAnError) {
  PathTable table(UrlUnescape::kAll, false);
  EXPECT_TRUE(table.add("GET", *PathTemplate::parse("/a/{x}"), 0).ok());
  EXPECT_FALSE(table.add("GET", *PathTemplate::parse("/a/{y}"), 1).ok());
  EXPECT_TRUE(table.add("PUT", *PathTemplate::parse("/a/{y}"), 1).ok());
}

}  // namespace
}  // namespace millrace::transcode
