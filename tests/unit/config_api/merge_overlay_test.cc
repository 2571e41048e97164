#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace {

namespace pb = google::protobuf;
using testing::HasSubstr;

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::string read(const std::filesystem::path& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// Two files: a.proto has message t.A {oneof choice {string x = 1; string y = 2;} string z = 3;} with
// 5 to 7 and `old` reserved and an option on z that nobody knows, and enum t.E {ZERO = 0;}; b.proto has t.B.
pb::FileDescriptorSet base() {
  pb::FileDescriptorSet set;
  pb::FileDescriptorProto* a = set.add_file();
  a->set_name("a.proto");
  a->set_package("t");
  a->set_syntax("proto3");
  pb::DescriptorProto* message = a->add_message_type();
  message->set_name("A");
  message->add_oneof_decl()->set_name("choice");
  const char* const names[] = {"x", "y", "z"};
  for (int i = 0; i < 3; ++i) {
    pb::FieldDescriptorProto* field = message->add_field();
    field->set_name(names[i]);
    field->set_json_name(names[i]);
    field->set_number(i + 1);
    field->set_label(pb::FieldDescriptorProto::LABEL_OPTIONAL);
    field->set_type(pb::FieldDescriptorProto::TYPE_STRING);
    if (i < 2) field->set_oneof_index(0);
  }
  pb::FieldOptions* options = message->mutable_field(2)->mutable_options();
  options->GetReflection()->MutableUnknownFields(options)->AddLengthDelimited(1071, "rules");
  pb::DescriptorProto::ReservedRange* range = message->add_reserved_range();
  range->set_start(5);
  range->set_end(8);
  message->add_reserved_name("old");
  pb::EnumDescriptorProto* e = a->add_enum_type();
  e->set_name("E");
  e->add_value()->set_name("ZERO");
  e->mutable_value(0)->set_number(0);

  pb::FileDescriptorProto* b = set.add_file();
  b->set_name("b.proto");
  b->set_package("t");
  b->set_syntax("proto3");
  b->add_message_type()->set_name("B");
  return set;
}

class MergeOverlay : public testing::Test {
 protected:
  MergeOverlay() {
    std::string name = testing::TempDir() + "merge_overlay.XXXXXX";
    folder_ = mkdtemp(name.data());
  }
  ~MergeOverlay() override { std::filesystem::remove_all(folder_); }

  // Merges and builds the result, all but where it cannot; then failure_ tells why.
  void merge(const std::string& overlay, const std::string& roots = "a.proto\n") {
    write(folder_ / "base", base().SerializeAsString());
    write(folder_ / "overlay", overlay);
    write(folder_ / "roots", roots);
    const std::string f = folder_.string();
    const std::string command = std::string(MERGE_OVERLAY) + " " + f + "/base " + f + "/overlay " + f + "/roots " + f +
                                "/out " + f + "/closure 2> " + f + "/failure";
    ok_ = std::system(command.c_str()) == 0;
    failure_ = read(folder_ / "failure");
    if (!ok_) return;
    pb::FileDescriptorSet set;
    ASSERT_TRUE(set.ParseFromString(read(folder_ / "out")));
    for (const auto& file : set.file()) ASSERT_NE(pool_.BuildFile(file), nullptr) << file.name();
  }
  const pb::FieldDescriptor* field(const std::string& message, const std::string& name) {
    const pb::Descriptor* type = pool_.FindMessageTypeByName(message);
    return type == nullptr ? nullptr : type->FindFieldByName(name);
  }

  std::filesystem::path folder_;
  pb::DescriptorPool pool_;
  bool ok_ = false;
  std::string failure_;
};

TEST_F(MergeOverlay, AddsFieldsWithJsonNamesAndKeepsUnknownOptions) {
  merge("message t.A\n  4 new_field t.B[]\n");
  ASSERT_TRUE(ok_) << failure_;
  ASSERT_NE(field("t.A", "new_field"), nullptr);
  EXPECT_EQ(field("t.A", "new_field")->json_name(), "newField");
  EXPECT_TRUE(field("t.A", "new_field")->is_repeated());
  const pb::FieldOptions& options = field("t.A", "z")->options();
  ASSERT_EQ(options.unknown_fields().field_count(), 1);
  EXPECT_EQ(options.unknown_fields().field(0).length_delimited(), "rules");
}

TEST_F(MergeOverlay, ImportsWhatFieldsNeedAndListsTheClosure) {
  merge("message t.A\n  4 b t.B\n");
  ASSERT_TRUE(ok_) << failure_;
  EXPECT_EQ(pool_.FindFileByName("a.proto")->dependency(0)->name(), "b.proto");
  EXPECT_EQ(read(folder_ / "closure"), "a.proto\nb.proto\n");
}

TEST_F(MergeOverlay, PutsOneofMembersNextToEachOther) {
  merge("message t.A\n  4 w string oneof=choice\n");
  ASSERT_TRUE(ok_) << failure_;
  EXPECT_EQ(field("t.A", "w")->containing_oneof()->name(), "choice");
  EXPECT_EQ(field("t.A", "w")->index(), 2);
}

TEST_F(MergeOverlay, TakesNumbersAndNamesOutOfReservedOnes) {
  merge("message t.A\n  6 old bool\n");
  ASSERT_TRUE(ok_) << failure_;
  const pb::Descriptor* type = pool_.FindMessageTypeByName("t.A");
  EXPECT_TRUE(type->IsReservedNumber(5));
  EXPECT_FALSE(type->IsReservedNumber(6));
  EXPECT_TRUE(type->IsReservedNumber(7));
}

TEST_F(MergeOverlay, MakesFilesWithNestedTypesMapsAndEnums) {
  merge(
      "message n.v1.M n/m.proto\n  1 by_name map<string,n.v1.M.Inner>\n  2 e n.v1.M.Kind deprecated\n"
      "message n.v1.M.Inner n/m.proto\n  1 a t.A\n"
      "enum n.v1.M.Kind n/m.proto\n  0 NONE\n  2 SOME\n"
      "enum t.E\n  1 ONE\n");
  ASSERT_TRUE(ok_) << failure_;
  EXPECT_EQ(pool_.FindFileByName("n/m.proto")->package(), "n.v1");
  EXPECT_TRUE(field("n.v1.M", "by_name")->is_map());
  EXPECT_EQ(field("n.v1.M", "by_name")->message_type()->map_value()->message_type()->full_name(), "n.v1.M.Inner");
  EXPECT_TRUE(field("n.v1.M", "e")->options().deprecated());
  EXPECT_EQ(field("n.v1.M", "e")->enum_type()->FindValueByName("SOME")->number(), 2);
  EXPECT_NE(pool_.FindEnumTypeByName("t.E")->FindValueByNumber(1), nullptr);
}

TEST_F(MergeOverlay, ChangesAFieldsNameAndType) {
  merge("message t.A\n  3 zed t.B was=z\n");
  ASSERT_TRUE(ok_) << failure_;
  EXPECT_EQ(field("t.A", "z"), nullptr);
  ASSERT_NE(field("t.A", "zed"), nullptr);
  EXPECT_EQ(field("t.A", "zed")->message_type()->full_name(), "t.B");
}

TEST_F(MergeOverlay, RefusesContradictionsWithTheirLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"message t.A\n  1 other string\n", "overlay:2: number taken by x"},
      {"message t.A\n  4 x string\n", "overlay:2: name taken"},
      {"message t.A\n  4 w t.Nothing\n", "overlay:2: no such type: t.Nothing"},
      {"message t.Gone\n  1 x string\n", "overlay:1: nothing declares t.Gone"},
      {"message t.A c.proto\n", "overlay:1: t.A exists already"},
      {"message t.A\n  4 w\n", "overlay:2: expected"},
      {"enum t.E\n  0 NIL\n", "overlay:2: number taken by ZERO"},
      {"message t.A\n  4 b t.B\nmessage t.B\n  1 a t.A\n", "import cycle"},
  };
  for (const auto& [overlay, expected] : cases) {
    merge(overlay);
    EXPECT_FALSE(ok_) << overlay;
    EXPECT_THAT(failure_, HasSubstr(expected)) << overlay;
  }
}

TEST_F(MergeOverlay, RefusesARootThatIsNotThere) {
  merge("", "missing.proto\n");
  EXPECT_FALSE(ok_);
  EXPECT_THAT(failure_, HasSubstr("no such proto: missing.proto"));
}

}  // namespace
