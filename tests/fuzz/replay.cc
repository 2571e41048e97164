// main() of fuzz targets where there is no libFuzzer: every file of the corpus folder, then seeded mutations of them.
//   fuzz_NAME CORPUS_FOLDER [MUTATIONS [SEED]]        fuzz_NAME FILE...
// An input that ends the program is left in fuzz_NAME.crash in the current folder.
#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "base/prng.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using millrace::base::Prng;

std::string current;  // the input that is running
std::string crash_path;

void save_and_die(int) {
  const int file = ::open(crash_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file >= 0 && ::write(file, current.data(), current.size()) < 0) ::_exit(3);
  ::_exit(2);
}

void run(std::string input) {
  current = std::move(input);
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(current.data()), current.size());
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Pieces that parsers of text protocols stumble over.
constexpr std::string_view kTokens[] = {
    "\r\n",
    "\r",
    "\n",
    "\r\n\r\n",
    " ",
    "\t",
    ":",
    ";",
    ",",
    "0",
    "5",
    "-1",
    "+",
    "%",
    "%2e",
    "%00",
    "..",
    "/",
    "//",
    "\\",
    "\x7f",
    "\xff",
    "HTTP/1.1",
    "HTTP/1.0",
    "chunked",
    "Transfer-Encoding: chunked\r\n",
    "Content-Length: 5\r\n",
    "Host: h\r\n",
    "Connection: upgrade\r\n",
    "0\r\n\r\n",
    "ffffffffffffffff",
    "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
};

void mutate(std::string& s, const std::vector<std::string>& corpus, Prng& random) {
  const size_t at = random.below(s.size() + 1);
  const size_t n = std::min<size_t>(random.below(16) + 1, s.size() - at);
  switch (random.below(7)) {
    case 0:
      s.insert(at, kTokens[random.below(std::size(kTokens))]);
      break;
    case 1:
      s.insert(at, 1, static_cast<char>(random.below(256)));
      break;
    case 2:
      s.erase(at, n);
      break;
    case 3:
      s.insert(at, s.substr(at, n));
      break;
    case 4:
      if (at < s.size()) s[at] = static_cast<char>(s[at] ^ (1 << random.below(8)));
      break;
    case 5:
      if (at < s.size()) s[at] = static_cast<char>(random.below(256));
      break;
    default: {
      const std::string& other = corpus[random.below(corpus.size())];
      s = s.substr(0, at) + other.substr(random.below(other.size() + 1));
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::fprintf(stderr, "usage: %s CORPUS_FOLDER [MUTATIONS [SEED]]\n", argv[0]), 2;
  crash_path = std::filesystem::path(argv[0]).filename().string() + ".crash";
  std::signal(SIGABRT, save_and_die);
  std::signal(SIGSEGV, save_and_die);
  if (!std::filesystem::is_directory(argv[1])) {
    for (int i = 1; i < argc; ++i) run(read_file(argv[i]));
    return 0;
  }
  std::vector<std::string> corpus;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    if (entry.is_regular_file()) corpus.push_back(read_file(entry.path()));
  }
  if (corpus.empty()) return std::fprintf(stderr, "no corpus in %s\n", argv[1]), 2;
  std::sort(corpus.begin(), corpus.end());  // the folder's order is nobody's
  const long mutations = argc > 2 ? std::atol(argv[2]) : 5000;
  Prng random(argc > 3 ? static_cast<uint64_t>(std::atoll(argv[3])) : 1);
  for (const std::string& input : corpus) run(input);
  for (long i = 0; i < mutations; ++i) {
    std::string input = corpus[random.below(corpus.size())];
    for (uint64_t k = random.below(4) + 1; k > 0; --k) mutate(input, corpus, random);
    run(std::move(input));
  }
  std::printf("%zu files, %ld mutations\n", corpus.size(), mutations);
  return 0;
}
