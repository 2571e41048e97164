#include "stream/access_log_file.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "stats/schema_server.h"
#include "stats/stats.h"

namespace millrace::stream {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr size_t kSparesMax = 8;
constexpr size_t kPipeChunk = 4096;  // PIPE_BUF: a pipe that poll() calls writable takes this much without blocking
constexpr base::milliseconds kBlockedRetry(20);

// -1 when the path is not one of the process's own streams.
int standard_stream(std::string_view path) {
  if (path == "/dev/stdout" || path == "/dev/fd/1" || path == "/proc/self/fd/1") return STDOUT_FILENO;
  if (path == "/dev/stderr" || path == "/dev/fd/2" || path == "/proc/self/fd/2") return STDERR_FILENO;
  return -1;
}

// O_NONBLOCK: a FIFO without a reader is an error instead of a wait.
int open_path(const std::string& path) {
  return ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0644);
}

}  // namespace

// ---- AccessLogFile

uint32_t AccessLogFile::Slots::take() {
  const std::lock_guard lock(mutex);
  if (free.empty()) return next++;
  const uint32_t slot = free.back();
  free.pop_back();
  return slot;
}

void AccessLogFile::Slots::give_back(uint32_t slot) {
  const std::lock_guard lock(mutex);
  free.push_back(slot);
}

AccessLogFile::AccessLogFile(std::string path, int fd, bool own_path, std::shared_ptr<Slots> slots)
    : path_(std::move(path)), own_path_(own_path), slots_(std::move(slots)), slot_(slots_->take()) {
  adopt(fd);
}

AccessLogFile::~AccessLogFile() {
  slots_->give_back(slot_);
  ::close(fd_);
}

void AccessLogFile::adopt(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
  struct stat status {};
  ::fstat(fd_, &status);
  may_block_ = S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode) || ::isatty(fd_) == 1;
  inside_line_ = false;
}

// ---- AccessLogWriter

AccessLogWriter::Buffer& AccessLogWriter::buffer_of(const AccessLogFilePtr& file) {
  if (file->slot_ >= buffers_.size()) buffers_.resize(file->slot_ + 1);
  Buffer& buffer = buffers_[file->slot_];
  if (buffer.file == nullptr) {
    buffer.file = file;
    in_use_.push_back(file->slot_);
  }
  return buffer;
}

void AccessLogWriter::hand_over(Buffer& buffer, bool by_timer) {
  if (!buffer.text.empty()) files_.submit(buffer.file, buffer.text, buffer.lines, by_timer);
  buffer.lines = 0;
}

void AccessLogWriter::flush(bool by_timer) {
  for (const uint32_t slot : in_use_) {
    hand_over(buffers_[slot], by_timer);
    // An idle worker holds no file open: its slot may go to another one.
    buffers_[slot].file.reset();
  }
  in_use_.clear();
}

// ---- AccessLogFiles: any thread

AccessLogFiles::AccessLogFiles(AccessLogFileOptions options) : options_(options) {}

AccessLogFiles::~AccessLogFiles() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_.notify_one();
  if (thread_.joinable()) thread_.join();
}

base::Result<AccessLogFilePtr> AccessLogFiles::open(const std::string& path) {
  const int standard = standard_stream(path);
  const std::string key = standard == STDOUT_FILENO ? "/dev/stdout" : standard == STDERR_FILENO ? "/dev/stderr" : path;
  const std::lock_guard lock(registry_mutex_);
  std::weak_ptr<AccessLogFile>& known = registry_[key];
  if (AccessLogFilePtr file = known.lock()) return file;
  const int fd = standard >= 0 ? ::fcntl(standard, F_DUPFD_CLOEXEC, 0) : open_path(path);
  if (fd < 0) {
    const int os = errno;
    registry_.erase(key);
    return base::Error::from_errno(os, "access log " + path);
  }
  AccessLogFilePtr file(new AccessLogFile(key, fd, standard < 0, slots_));
  known = file;
  std::erase_if(registry_, [](const auto& entry) { return entry.second.expired(); });
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  return file;
}

void AccessLogFiles::reopen() {
  {
    const std::lock_guard registry_lock(registry_mutex_);
    if (!thread_.joinable()) return;
  }
  {
    const std::lock_guard lock(mutex_);
    reopen_ = true;
  }
  work_.notify_one();
}

bool AccessLogFiles::drain(base::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  return idle_.wait_for(lock, timeout, [this] { return queue_.empty() && !busy_ && !reopen_; });
}

AccessLogCounts AccessLogFiles::counts() const {
  return {.write_buffered = counters_.write_buffered.load(kRelaxed),
          .write_completed = counters_.write_completed.load(kRelaxed),
          .write_failed = counters_.write_failed.load(kRelaxed),
          .flushed_by_timer = counters_.flushed_by_timer.load(kRelaxed),
          .reopen_failed = counters_.reopen_failed.load(kRelaxed),
          .lines_dropped = counters_.lines_dropped.load(kRelaxed),
          .write_total_buffered = counters_.write_total_buffered.load(kRelaxed)};
}

void AccessLogFiles::publish(stats::StatShard& filesystem) {
  const AccessLogCounts now = counts();
  const AccessLogCounts before = std::exchange(published_, now);
  namespace fs = stats::filesystem;
  filesystem.inc(fs::kWriteBuffered, now.write_buffered - before.write_buffered);
  filesystem.inc(fs::kWriteCompleted, now.write_completed - before.write_completed);
  filesystem.inc(fs::kWriteFailed, now.write_failed - before.write_failed);
  filesystem.inc(fs::kFlushedByTimer, now.flushed_by_timer - before.flushed_by_timer);
  filesystem.inc(fs::kReopenFailed, now.reopen_failed - before.reopen_failed);
  filesystem.gauge_set(fs::kWriteTotalBuffered, static_cast<int64_t>(now.write_total_buffered));
}

void AccessLogFiles::submit(const AccessLogFilePtr& file, std::string& text, uint64_t lines, bool by_timer) {
  const size_t bytes = text.size();
  counters_.write_buffered.fetch_add(lines, kRelaxed);
  if (by_timer) counters_.flushed_by_timer.fetch_add(1, kRelaxed);
  if (file->queued_bytes_.fetch_add(bytes, kRelaxed) + bytes > options_.queue_bytes_max) {
    file->queued_bytes_.fetch_sub(bytes, kRelaxed);
    counters_.write_failed.fetch_add(1, kRelaxed);
    counters_.lines_dropped.fetch_add(lines, kRelaxed);
    if (!file->overflow_logged_.exchange(true, kRelaxed)) {
      MILLRACE_LOG(kWarn, "access_log", "{}: lines come faster than it takes them and are dropped; "
                   "said once, counted in filesystem.write_failed", file->path());
    }
    text.clear();
    return;
  }
  counters_.write_total_buffered.fetch_add(bytes, kRelaxed);
  Batch batch{file, {std::move(text), lines}};
  text.clear();
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(batch));
    if (!spares_.empty()) {
      text = std::move(spares_.back());
      spares_.pop_back();
    }
  }
  work_.notify_one();
}

// ---- AccessLogFiles: the writer thread

// Waits for batches (or, when files block, a moment). False: stop, everything is taken.
bool AccessLogFiles::take_work(std::vector<Batch>& batches, bool waiting_for_files) {
  std::unique_lock lock(mutex_);
  busy_ = waiting_for_files;
  const auto has_work = [this] { return !queue_.empty() || reopen_ || stop_; };
  if (waiting_for_files) {
    work_.wait_for(lock, kBlockedRetry, [this] { return !queue_.empty() || reopen_; });
  } else {
    if (queue_.empty() && !reopen_) idle_.notify_all();
    work_.wait(lock, has_work);
  }
  batches.swap(queue_);
  busy_ = true;
  const bool reopen = reopen_;
  const bool stop = stop_ && batches.empty();
  lock.unlock();
  if (reopen) {
    reopen_all();
    lock.lock();
    reopen_ = false;
  }
  return !stop;
}

void AccessLogFiles::run() {
  // Signals belong to the main thread; SIGPIPE must become EPIPE.
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
  std::vector<Batch> batches;
  base::MonotonicTime stop_at{};
  while (true) {
    const bool stopping = !take_work(batches, !active_.empty());
    for (Batch& batch : batches) {
      if (batch.file->backlog_.empty()) active_.push_back(batch.file);
      batch.file->backlog_.push_back(std::move(batch.piece));
    }
    batches.clear();
    std::erase_if(active_, [this](const AccessLogFilePtr& file) { return write_backlog(*file); });
    if (!stopping) continue;
    if (active_.empty()) return;
    const base::MonotonicTime now = base::Clock::now();
    if (stop_at == base::MonotonicTime{}) stop_at = now + options_.stop_grace;
    if (now < stop_at) continue;
    for (const AccessLogFilePtr& file : active_) {
      for (Piece& piece : file->backlog_) finish(*file, piece, false);
      file->backlog_.clear();
    }
    return;
  }
}

void AccessLogFiles::reopen_all() {
  std::vector<AccessLogFilePtr> files;
  {
    const std::lock_guard lock(registry_mutex_);
    for (const auto& [path, file] : registry_) {
      if (AccessLogFilePtr alive = file.lock()) files.push_back(std::move(alive));
    }
  }
  for (const AccessLogFilePtr& file : files) {
    if (file->own_path_) reopen_file(*file);
  }
}

void AccessLogFiles::reopen_file(AccessLogFile& file) {
  const int fd = open_path(file.path_);
  if (fd >= 0) {
    file.adopt(fd);
    return;
  }
  const int os = errno;
  counters_.reopen_failed.fetch_add(1, kRelaxed);
  MILLRACE_LOG(kError, "access_log", "{}; its lines still go to the old file",
               base::Error::from_errno(os, "cannot reopen access log " + file.path_).to_string());
}

bool AccessLogFiles::write_backlog(AccessLogFile& file) {
  size_t done = 0;
  bool blocked = false;
  while (done < file.backlog_.size() && !blocked) {
    Piece& piece = file.backlog_[done];
    const Outcome outcome = write_piece(file, piece);
    blocked = outcome == Outcome::kBlocked;
    if (blocked) break;
    finish(file, piece, outcome == Outcome::kWritten);
    ++done;
  }
  file.backlog_.erase(file.backlog_.begin(), file.backlog_.begin() + static_cast<ptrdiff_t>(done));
  return !blocked;
}

AccessLogFiles::Outcome AccessLogFiles::write_piece(AccessLogFile& file, Piece& piece) {
  while (piece.written < piece.text.size()) {
    std::string_view rest = std::string_view(piece.text).substr(piece.written);
    const bool end_line_first = file.inside_line_ && piece.written == 0;
    if (end_line_first) rest = "\n";
    if (file.may_block_) {
      pollfd poll{.fd = file.fd_, .events = POLLOUT, .revents = 0};
      if (::poll(&poll, 1, 0) == 0) return Outcome::kBlocked;
      rest = rest.substr(0, kPipeChunk);
    }
    const ssize_t n = ::write(file.fd_, rest.data(), rest.size());
    if (n >= 0) {
      if (end_line_first && n > 0) {
        file.inside_line_ = false;
      } else {
        piece.written += static_cast<size_t>(n);
      }
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return Outcome::kBlocked;
    const int os = errno;
    if (!file.failing_) {
      MILLRACE_LOG(kError, "access_log", "{}; its lines are dropped until it takes some again",
                   base::Error::from_errno(os, "cannot write access log " + file.path_).to_string());
    }
    file.failing_ = true;
    if (piece.written > 0) file.inside_line_ = piece.text[piece.written - 1] != '\n';
    return Outcome::kFailed;
  }
  file.failing_ = false;
  return Outcome::kWritten;
}

void AccessLogFiles::finish(AccessLogFile& file, Piece& piece, bool written) {
  file.queued_bytes_.fetch_sub(piece.text.size(), kRelaxed);
  counters_.write_total_buffered.fetch_sub(piece.text.size(), kRelaxed);
  if (written) {
    counters_.write_completed.fetch_add(1, kRelaxed);
  } else {
    counters_.write_failed.fetch_add(1, kRelaxed);
    counters_.lines_dropped.fetch_add(piece.lines, kRelaxed);
  }
  piece.text.clear();
  const std::lock_guard lock(mutex_);
  if (spares_.size() < kSparesMax) spares_.push_back(std::move(piece.text));
}

}  // namespace millrace::stream
