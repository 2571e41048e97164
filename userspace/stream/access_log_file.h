// Where access log lines go, without ever blocking a worker. Each worker appends its lines to a buffer of its own
// per file (AccessLogWriter, no lock); a full buffer, or any buffer at the flush interval, is handed to the one
// writer thread of AccessLogFiles through a queue whose mutex is held for a push only. Buffers hold whole lines and
// the files are open with O_APPEND, so lines of different workers, or of other processes, do not mix. A file which
// takes no bytes (a full disk, a pipe that nobody reads) costs its own lines: what exceeds queue_bytes_max is
// dropped and counted, and the other files go on. Logs of the same path share one AccessLogFile; it closes with the
// last owner.
//
//   worker:   log -> AccessLogWriter::write() -> buffer --64 KiB or timer--> queue --> writer thread --> write(2)
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace millrace::stats {
class StatShard;
}

namespace millrace::stream {

struct AccessLogFileOptions {
  size_t buffer_bytes = 64 * 1024;            // a worker hands a buffer over once it holds this much
  size_t queue_bytes_max = 16 * 1024 * 1024;  // per file, handed over and not written yet
  base::milliseconds stop_grace{1000};        // for a pipe that takes nothing at the end
};

// Envoy's filesystem.* statistics, and lines_dropped.
struct AccessLogCounts {
  uint64_t write_buffered = 0;   // lines
  uint64_t write_completed = 0;  // buffers
  uint64_t write_failed = 0;     // buffers, refused by the file or for want of room in the queue
  uint64_t flushed_by_timer = 0;
  uint64_t reopen_failed = 0;
  uint64_t lines_dropped = 0;
  uint64_t write_total_buffered = 0;  // gauge: bytes handed over and not written yet
};

class AccessLogFiles;

class AccessLogFile {
 public:
  AccessLogFile(const AccessLogFile&) = delete;
  AccessLogFile& operator=(const AccessLogFile&) = delete;
  ~AccessLogFile();
  const std::string& path() const { return path_; }

 private:
  friend class AccessLogFiles;
  friend class AccessLogWriter;
  struct Piece {
    std::string text;
    uint64_t lines = 0;
    size_t written = 0;
  };
  // Indices into the workers' buffers, reused when a file closes.
  struct Slots {
    std::mutex mutex;
    std::vector<uint32_t> free;
    uint32_t next = 0;
    uint32_t take();
    void give_back(uint32_t slot);
  };

  AccessLogFile(std::string path, int fd, bool own_path, std::shared_ptr<Slots> slots);
  void adopt(int fd);

  const std::string path_;
  const bool own_path_;  // opened by path; otherwise a duplicate of stdout or stderr, which cannot be reopened
  const std::shared_ptr<Slots> slots_;
  const uint32_t slot_;
  std::atomic<uint64_t> queued_bytes_ = 0;
  std::atomic<bool> overflow_logged_ = false;

  // Of the writer thread.
  int fd_ = -1;
  bool may_block_ = false;     // a pipe, socket or terminal: write little and only when poll() says so
  bool failing_ = false;       // the last write failed, and was logged
  bool inside_line_ = false;   // a failed write left half a line behind
  std::vector<Piece> backlog_;
};

using AccessLogFilePtr = std::shared_ptr<AccessLogFile>;

// The registry and the writer thread, which starts with the first file. Any thread may call it; it outlives the files'
// writers.
class AccessLogFiles {
 public:
  explicit AccessLogFiles(AccessLogFileOptions options = {});
  // Writes what was handed over; a pipe that takes nothing is given up after stop_grace.
  ~AccessLogFiles();
  AccessLogFiles(const AccessLogFiles&) = delete;
  AccessLogFiles& operator=(const AccessLogFiles&) = delete;

  // Opens (creates) the file, or returns the open one of that path. /dev/stdout and /dev/stderr are the process's own,
  // even when they are sockets.
  base::Result<AccessLogFilePtr> open(const std::string& path);
  // Opens every path again (SIGUSR1, after a rename). A path that does not open keeps its old file.
  void reopen();
  // Waits until everything handed over before is written (or dropped). False: not within the timeout.
  bool drain(base::milliseconds timeout);
  AccessLogCounts counts() const;
  // Brings the block stats::filesystem up to date; the main thread's, before a scrape and now and then.
  void publish(stats::StatShard& filesystem);

 private:
  friend class AccessLogWriter;
  using Piece = AccessLogFile::Piece;
  struct Batch {
    AccessLogFilePtr file;
    Piece piece;
  };
  struct Counters {
    std::atomic<uint64_t> write_buffered{0}, write_completed{0}, write_failed{0}, flushed_by_timer{0}, reopen_failed{0},
        lines_dropped{0}, write_total_buffered{0};
  };
  enum class Outcome : uint8_t { kWritten, kBlocked, kFailed };

  // Takes the text, leaves an empty string that has a capacity if there is one to spare.
  void submit(const AccessLogFilePtr& file, std::string& text, uint64_t lines, bool by_timer);
  void run();
  bool take_work(std::vector<Batch>& batches, bool waiting_for_files);
  void reopen_all();
  void reopen_file(AccessLogFile& file);
  // False when the file would block with something left to write.
  bool write_backlog(AccessLogFile& file);
  Outcome write_piece(AccessLogFile& file, Piece& piece);
  void finish(AccessLogFile& file, Piece& piece, bool written);

  const AccessLogFileOptions options_;
  Counters counters_;
  AccessLogCounts published_;  // of publish()

  std::mutex registry_mutex_;  // never held together with mutex_
  std::unordered_map<std::string, std::weak_ptr<AccessLogFile>> registry_;
  std::shared_ptr<AccessLogFile::Slots> slots_ = std::make_shared<AccessLogFile::Slots>();
  std::thread thread_;

  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable idle_;
  std::vector<Batch> queue_;
  std::vector<std::string> spares_;
  bool busy_ = false;    // the writer thread holds batches
  bool reopen_ = false;
  bool stop_ = false;

  std::vector<AccessLogFilePtr> active_;  // files with a backlog; the writer thread's
};

// One worker's way to the files. The worker calls flush() at the flush interval and before it ends.
class AccessLogWriter {
 public:
  explicit AccessLogWriter(AccessLogFiles& files) : files_(files) {}
  ~AccessLogWriter() { flush(false); }
  AccessLogWriter(const AccessLogWriter&) = delete;
  AccessLogWriter& operator=(const AccessLogWriter&) = delete;

  // append(std::string&) appends one line, with its line end, or nothing.
  template <class Append>
  void write(const AccessLogFilePtr& file, Append&& append) {
    Buffer& buffer = buffer_of(file);
    append(buffer.text);
    ++buffer.lines;
    if (buffer.text.size() >= files_.options_.buffer_bytes) hand_over(buffer, false);
  }
  // Hands over whatever lines there are. by_timer: for the statistic of that name.
  void flush(bool by_timer);

 private:
  struct Buffer {
    AccessLogFilePtr file;  // null: no line since the last flush
    std::string text;
    uint64_t lines = 0;
  };
  Buffer& buffer_of(const AccessLogFilePtr& file);
  void hand_over(Buffer& buffer, bool by_timer);

  AccessLogFiles& files_;
  std::vector<Buffer> buffers_;    // by the files' slots
  std::vector<uint32_t> in_use_;   // slots of buffers with a file
};

}  // namespace millrace::stream
