#include "stream/access_log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "stats/schema_server.h"
#include "stats/stats.h"

namespace millrace::stream {
namespace {

constexpr base::milliseconds kLong(20'000);  // a wait that only a broken sink exhausts

class AccessLogFileTest : public testing::Test {
 protected:
  AccessLogFileTest() {
    std::string pattern = testing::TempDir() + "millrace_access_log_XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
  }
  ~AccessLogFileTest() override { std::filesystem::remove_all(directory_); }

  std::string path(std::string_view name) const { return directory_ + "/" + std::string(name); }
  static std::string contents(const std::string& path) {
    std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  static void write(AccessLogWriter& writer, const AccessLogFilePtr& file, std::string_view line) {
    writer.write(file, [&](std::string& out) { out += line; });
  }
  // A FIFO with a reader, so that it can be opened for writing.
  int make_pipe(const std::string& path) {
    EXPECT_EQ(::mkfifo(path.c_str(), 0600), 0);
    const int reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    EXPECT_GE(reader, 0);
    return reader;
  }
  static std::string read_all(int reader) {
    std::string text;
    char bytes[4096];
    for (ssize_t n; (n = ::read(reader, bytes, sizeof bytes)) > 0;) text.append(bytes, static_cast<size_t>(n));
    return text;
  }

  std::string directory_;
};

TEST_F(AccessLogFileTest, WritesTheLinesOfAFlush) {
  AccessLogFiles files;
  const AccessLogFilePtr file = files.open(path("a")).value();
  AccessLogWriter writer(files);
  write(writer, file, "one\n");
  write(writer, file, "two\n");
  EXPECT_EQ(contents(path("a")), "") << "lines wait for the flush";
  writer.flush(true);
  ASSERT_TRUE(files.drain(kLong));
  EXPECT_EQ(contents(path("a")), "one\ntwo\n");
  const AccessLogCounts counts = files.counts();
  EXPECT_EQ(counts.write_buffered, 2u);
  EXPECT_EQ(counts.write_completed, 1u);
  EXPECT_EQ(counts.flushed_by_timer, 1u);
  EXPECT_EQ(counts.write_total_buffered, 0u);
  EXPECT_EQ(counts.lines_dropped, 0u);
}

TEST_F(AccessLogFileTest, HandsAFullBufferOverWithoutAFlush) {
  AccessLogFiles files({.buffer_bytes = 8});
  const AccessLogFilePtr file = files.open(path("a")).value();
  AccessLogWriter writer(files);
  write(writer, file, "1234\n");
  write(writer, file, "5678\n");
  write(writer, file, "rest\n");
  ASSERT_TRUE(files.drain(kLong));
  EXPECT_EQ(contents(path("a")), "1234\n5678\n");
  EXPECT_EQ(files.counts().flushed_by_timer, 0u);
}

TEST_F(AccessLogFileTest, AppendsToWhatIsThere) {
  std::ofstream(path("a")) << "old\n";
  AccessLogFiles files;
  {
    const AccessLogFilePtr file = files.open(path("a")).value();
    AccessLogWriter writer(files);
    write(writer, file, "new\n");
  }
  ASSERT_TRUE(files.drain(kLong));
  EXPECT_EQ(contents(path("a")), "old\nnew\n") << "a writer flushes when it ends";
}

TEST_F(AccessLogFileTest, WritesEverythingBeforeItEnds) {
  {
    AccessLogFiles files;
    const AccessLogFilePtr file = files.open(path("a")).value();
    AccessLogWriter writer(files);
    write(writer, file, "last\n");
  }
  EXPECT_EQ(contents(path("a")), "last\n");
}

TEST_F(AccessLogFileTest, LogsOfTheSamePathShareAFile) {
  AccessLogFiles files;
  const AccessLogFilePtr file = files.open(path("a")).value();
  EXPECT_EQ(files.open(path("a")).value(), file);
  EXPECT_NE(files.open(path("b")).value(), file);
}

TEST_F(AccessLogFileTest, AFileClosesWithItsLastOwnerAndItsSlotIsReused) {
  AccessLogFiles files;
  AccessLogWriter writer(files);
  for (int i = 0; i < 100; ++i) {
    const std::string name = "f" + std::to_string(i);
    const AccessLogFilePtr file = files.open(path(name)).value();
    write(writer, file, name + "\n");
    writer.flush(false);
    ASSERT_TRUE(files.drain(kLong));
    EXPECT_EQ(contents(path(name)), name + "\n");
  }
  int open = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const std::string target = std::filesystem::read_symlink(entry.path(), error).string();
    if (target.starts_with(directory_ + "/f")) ++open;
  }
  EXPECT_EQ(open, 0);
}

TEST_F(AccessLogFileTest, LosesAndMixesNoLineOfManyThreads) {
  constexpr int kThreads = 4;
  constexpr int kLines = 20'000;
  {
    AccessLogFiles files({.buffer_bytes = 4096});
    const AccessLogFilePtr file = files.open(path("a")).value();
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        AccessLogWriter writer(files);
        for (int i = 0; i < kLines; ++i) {
          write(writer, file, std::to_string(t) + " " + std::to_string(i) + " " + std::string(i % 90, 'x') + " end\n");
          if (i % 5000 == 0) writer.flush(true);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_TRUE(files.drain(kLong));
    EXPECT_EQ(files.counts().write_buffered, static_cast<uint64_t>(kThreads * kLines));
    EXPECT_EQ(files.counts().lines_dropped, 0u);
  }
  std::ifstream lines(path("a"));
  std::vector<int> next(kThreads, 0);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    int thread = -1, number = -1;
    words >> thread >> number;
    ASSERT_TRUE(thread >= 0 && thread < kThreads) << line;
    ASSERT_EQ(number, next[thread]) << line;
    const std::string filler(static_cast<size_t>(number % 90), 'x');
    ASSERT_EQ(line, std::to_string(thread) + " " + std::to_string(number) + " " + filler + " end");
    ++next[thread];
  }
  EXPECT_EQ(next, std::vector<int>(kThreads, kLines));
}

TEST_F(AccessLogFileTest, ReopensAfterARename) {
  AccessLogFiles files;
  const AccessLogFilePtr file = files.open(path("a")).value();
  AccessLogWriter writer(files);
  write(writer, file, "before\n");
  writer.flush(false);
  ASSERT_TRUE(files.drain(kLong));
  std::filesystem::rename(path("a"), path("a.1"));
  write(writer, file, "still\n");
  writer.flush(false);
  ASSERT_TRUE(files.drain(kLong));
  files.reopen();
  ASSERT_TRUE(files.drain(kLong));
  write(writer, file, "after\n");
  writer.flush(false);
  ASSERT_TRUE(files.drain(kLong));
  EXPECT_EQ(contents(path("a.1")), "before\nstill\n");
  EXPECT_EQ(contents(path("a")), "after\n");
  EXPECT_EQ(files.counts().reopen_failed, 0u);
}

TEST_F(AccessLogFileTest, KeepsTheOldFileWhenReopeningFails) {
  AccessLogFiles files;
  std::filesystem::create_directory(path("d"));
  const AccessLogFilePtr file = files.open(path("d/a")).value();
  std::filesystem::rename(path("d"), path("moved"));
  files.reopen();
  ASSERT_TRUE(files.drain(kLong));
  EXPECT_EQ(files.counts().reopen_failed, 1u);
  AccessLogWriter writer(files);
  write(writer, file, "line\n");
  writer.flush(false);
  ASSERT_TRUE(files.drain(kLong));
  EXPECT_EQ(contents(path("moved/a")), "line\n");
}

TEST_F(AccessLogFileTest, ReopenWithoutAnyFileIsDoneAtOnce) {
  AccessLogFiles files;
  files.reopen();
  EXPECT_TRUE(files.drain(base::milliseconds(0)));
}

TEST_F(AccessLogFileTest, SurvivesAFullDiskAndCountsIt) {
  AccessLogFiles files;
  const AccessLogFilePtr full = files.open("/dev/full").value();
  const AccessLogFilePtr good = files.open(path("a")).value();
  AccessLogWriter writer(files);
  for (int i = 0; i < 3; ++i) {
    write(writer, full, "lost\n");
    write(writer, full, "lost\n");
    write(writer, good, "kept\n");
    writer.flush(false);
  }
  ASSERT_TRUE(files.drain(kLong));
  EXPECT_EQ(files.counts().write_failed, 3u);
  EXPECT_EQ(files.counts().lines_dropped, 6u);
  EXPECT_EQ(files.counts().write_completed, 3u);
  EXPECT_EQ(files.counts().write_total_buffered, 0u);
  EXPECT_EQ(contents(path("a")), "kept\nkept\nkept\n");
}

TEST_F(AccessLogFileTest, EndsTheHalfLineThatAFailedWriteLeft) {
  AccessLogFiles files;
  const AccessLogFilePtr file = files.open(path("a")).value();
  AccessLogWriter writer(files);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{.rlim_cur = 10, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  write(writer, file, "0123456789abc\n");
  writer.flush(false);
  const bool drained = files.drain(kLong);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ASSERT_TRUE(drained);
  EXPECT_EQ(files.counts().write_failed, 1u);
  write(writer, file, "next\n");
  writer.flush(false);
  ASSERT_TRUE(files.drain(kLong));
  EXPECT_EQ(contents(path("a")), "0123456789\nnext\n");
}

TEST_F(AccessLogFileTest, ABlockedPipeDropsItsOwnLinesOnly) {
  AccessLogFiles files({.buffer_bytes = 1024, .queue_bytes_max = 100 * 1024});
  const int reader = make_pipe(path("p"));
  const AccessLogFilePtr pipe = files.open(path("p")).value();
  const AccessLogFilePtr good = files.open(path("a")).value();
  AccessLogWriter writer(files);
  const std::string line = std::string(99, 'x') + "\n";
  constexpr uint64_t kLines = 10'000;  // ten times what queue and pipe hold
  for (uint64_t i = 0; i < kLines; ++i) write(writer, pipe, line);
  write(writer, good, "kept\n");
  writer.flush(false);
  EXPECT_FALSE(files.drain(base::milliseconds(1))) << "the pipe is full";
  while (contents(path("a")) != "kept\n") std::this_thread::yield();
  const uint64_t dropped = files.counts().lines_dropped;
  EXPECT_GT(dropped, kLines / 2);
  EXPECT_GT(files.counts().write_total_buffered, 0u);
  EXPECT_LE(files.counts().write_total_buffered, 100u * 1024 + 5);
  std::string received;
  do {
    received += read_all(reader);
  } while (!files.drain(base::milliseconds(5)));
  received += read_all(reader);
  EXPECT_EQ(received.size(), (kLines - dropped) * line.size()) << "what was not counted as dropped arrives";
  ::close(reader);
}

TEST_F(AccessLogFileTest, GivesABlockedPipeUpAtTheEnd) {
  const int reader = make_pipe(path("p"));
  {
    AccessLogFiles files({.stop_grace = base::milliseconds(10)});
    const AccessLogFilePtr pipe = files.open(path("p")).value();
    AccessLogWriter writer(files);
    write(writer, pipe, std::string(1 << 20, 'x') + "\n");
  }
  EXPECT_GT(read_all(reader).size(), 0u);
  ::close(reader);
}

TEST_F(AccessLogFileTest, SurvivesAReaderThatWentAway) {
  AccessLogFiles files;
  const int reader = make_pipe(path("p"));
  const AccessLogFilePtr pipe = files.open(path("p")).value();
  ::close(reader);
  AccessLogWriter writer(files);
  write(writer, pipe, "lost\n");
  writer.flush(false);
  ASSERT_TRUE(files.drain(kLong));
  EXPECT_EQ(files.counts().write_failed, 1u);
}

TEST_F(AccessLogFileTest, PublishesEnvoysStatistics) {
  stats::Store store(0);
  const stats::StatBlockPtr block = store.add_block(stats::filesystem::kSchema, {"filesystem.", "filesystem.", {}});
  stats::StatShard shard = block->main_shard();
  AccessLogFiles files;
  const AccessLogFilePtr file = files.open(path("a")).value();
  AccessLogWriter writer(files);
  for (uint64_t round = 1; round <= 2; ++round) {
    write(writer, file, "line\n");
    writer.flush(true);
    ASSERT_TRUE(files.drain(kLong));
    files.publish(shard);
    EXPECT_EQ(block->counter(stats::filesystem::kWriteBuffered), round);
    EXPECT_EQ(block->counter(stats::filesystem::kWriteCompleted), round);
    EXPECT_EQ(block->counter(stats::filesystem::kFlushedByTimer), round);
    EXPECT_EQ(block->counter(stats::filesystem::kWriteFailed), 0u);
    EXPECT_EQ(block->gauge(stats::filesystem::kWriteTotalBuffered), 0);
  }
}

TEST_F(AccessLogFileTest, ErrorsNameThePath) {
  AccessLogFiles files;
  const base::Result<AccessLogFilePtr> file = files.open(path("no/such/directory"));
  ASSERT_FALSE(file.ok());
  EXPECT_NE(file.error().what.find(path("no/such/directory")), std::string::npos) << file.error().what;
  ASSERT_EQ(::mkfifo(path("p").c_str(), 0600), 0);
  EXPECT_FALSE(files.open(path("p")).ok()) << "a FIFO without a reader does not hold up the start";
}

TEST_F(AccessLogFileTest, DevStdoutIsTheProcesssOwn) {
  const int saved = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
  const int target = ::open(path("out").c_str(), O_WRONLY | O_CREAT, 0600);
  ::dup2(target, STDOUT_FILENO);
  AccessLogFiles files;
  base::Result<AccessLogFilePtr> file = files.open("/dev/stdout");
  const bool same = file.ok() && files.open("/proc/self/fd/1").value() == *file;
  ::dup2(saved, STDOUT_FILENO);
  ::close(saved);
  ::close(target);
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE(same);
  AccessLogWriter writer(files);
  write(writer, *file, "line\n");
  writer.flush(false);
  files.reopen();
  ASSERT_TRUE(files.drain(kLong));
  EXPECT_EQ(contents(path("out")), "line\n");
}

class AccessLogTest : public AccessLogFileTest {
 protected:
  std::string log_once(AccessLogOptions options) {
    options.path = path("log");
    {
      AccessLogFiles files;
      const AccessLog log = AccessLog::compile(options, &files).value();
      AccessLogWriter writer(files);
      log.log({.info = &info_}, writer);
    }
    return contents(path("log"));
  }
  StreamInfo info_;
};

TEST_F(AccessLogTest, WritesEnvoysFormatWhenNoneIsGiven) {
  info_.start_time = base::SystemTime(base::seconds(1));
  info_.response_code = 200;
  EXPECT_EQ(log_once({}),
            "[1970-01-01T00:00:01.000Z] \"- - -\" 200 - 0 0 - - \"-\" \"-\" \"-\" \"-\" \"-\"\n");
}

TEST_F(AccessLogTest, WritesTextAndJson) {
  info_.response_code = 200;
  AccessLogOptions text;
  text.format = "%RESPONSE_CODE%[%ROUTE_NAME%]\n";
  EXPECT_EQ(log_once(text), "200[-]\n");
  text.omit_empty_values = true;
  EXPECT_EQ(log_once(text), "200[-]\n200[]\n");
  std::filesystem::remove(path("log"));
  AccessLogOptions json;
  json.format = JsonFormat::Object{{"code", {std::string("%RESPONSE_CODE%")}}, {"r", {std::string("%ROUTE_NAME%")}}};
  EXPECT_EQ(log_once(json), "{\"code\":200,\"r\":null}\n");
}

TEST_F(AccessLogTest, WritesOnlyWhatTheFilterLetsThrough) {
  AccessLogOptions options;
  options.format = "%RESPONSE_CODE%\n";
  options.filter = AccessLogFilterOptions{
      log_filter::StatusCode{{.op = log_filter::Op::kGreaterOrEqual, .value = 500}}};
  info_.response_code = 200;
  EXPECT_EQ(log_once(options), "");
  info_.response_code = 503;
  EXPECT_EQ(log_once(options), "503\n");
}

TEST_F(AccessLogTest, ValidationOpensNoFile) {
  AccessLogOptions options;
  options.path = path("log");
  base::Result<AccessLog> log = AccessLog::compile(options, nullptr);
  ASSERT_TRUE(log.ok());
  AccessLogFiles files;
  AccessLogWriter writer(files);
  log->log({.info = &info_}, writer);
  EXPECT_FALSE(std::filesystem::exists(path("log")));
}

TEST_F(AccessLogTest, RefusesBadOptions) {
  AccessLogOptions options;
  options.format = "%NOPE%";
  EXPECT_FALSE(AccessLog::compile(options, nullptr).ok());
  options.format = JsonFormat::Object{{"a", {std::string("%")}}};
  EXPECT_FALSE(AccessLog::compile(options, nullptr).ok());
  options.format = "x";
  options.filter = AccessLogFilterOptions{log_filter::Flags{{"??"}}};
  EXPECT_FALSE(AccessLog::compile(options, nullptr).ok());
}

}  // namespace
}  // namespace millrace::stream
