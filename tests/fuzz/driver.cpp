// A fuzzer for compilers without libFuzzer: mutates the files of a corpus for a while, always the same way for one
// seed.
//
//   onnx_fuzz CORPUS SECONDS [SEED]     mutate
//   onnx_fuzz FILE                      run one input again
//
// An input that ends the process or takes longer than kSecondsPerInput is left in crash-<target>.bin.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "check.h"

extern "C" {
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)());
__attribute__((weak)) void __sanitizer_set_report_fd(void* fd);
}

namespace {

using Bytes = std::vector<uint8_t>;

constexpr unsigned kSecondsPerInput = 20;
constexpr size_t kLargestInput = 1 << 18;

Bytes g_input;
int g_messages = 2;
std::string g_crash_file;

void keep_input() {
  const int file = ::open(g_crash_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  const bool kept = file >= 0 && ::write(file, g_input.data(), g_input.size()) == static_cast<ssize_t>(g_input.size());
  static const char message[] = "fuzz: this input broke it; it is left in crash-*.bin\n";
  if (kept && ::write(g_messages, message, sizeof message - 1) < 0) ::_exit(3);
}

extern "C" void on_signal(int number) {
  std::signal(number, SIG_DFL);
  keep_input();
  std::raise(number);
}

/// The codecs behind OpenCV write a line about each damaged picture; only sanitizers and we are to be heard.
void silence_stderr() {
  g_messages = ::dup(2);
  const int null = ::open("/dev/null", O_WRONLY);
  if (g_messages < 0 || null < 0 || ::dup2(null, 2) < 0) std::abort();
  if (__sanitizer_set_report_fd) __sanitizer_set_report_fd(reinterpret_cast<void*>(static_cast<intptr_t>(g_messages)));
}

Bytes read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Mutator {
 public:
  Mutator(std::vector<Bytes> seeds, uint64_t seed) : seeds_(std::move(seeds)), random_(seed) {}

  Bytes next() {
    Bytes bytes = seeds_[below(seeds_.size())];
    const size_t edits = 1 + below(below(4) == 0 ? 16 : 3);
    for (size_t i = 0; i < edits; ++i) edit(bytes);
    if (bytes.size() > kLargestInput) bytes.resize(kLargestInput);
    return bytes;
  }

 private:
  size_t below(size_t n) { return n == 0 ? 0 : random_() % n; }

  void insert(Bytes& bytes, size_t at, const Bytes& more) {
    bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), more.begin(), more.end());
  }
  static void erase(Bytes& bytes, size_t at, size_t count) {
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    bytes.erase(begin, begin + static_cast<std::ptrdiff_t>(std::min(count, bytes.size() - at)));
  }

  void edit(Bytes& bytes) {
    const size_t at = below(bytes.size());
    if (bytes.empty()) {
      bytes.push_back(static_cast<uint8_t>(below(256)));
      return;
    }
    switch (below(9)) {
      case 0:
        bytes[at] = static_cast<uint8_t>(bytes[at] ^ (1u << below(8)));
        break;
      case 1:
        bytes[at] = static_cast<uint8_t>(below(256));
        break;
      case 2: {  // the edges of what a byte, a length or a size can be
        static const uint8_t edges[] = {0, 1, 2, 0x7f, 0x80, 0xfe, 0xff};
        bytes[at] = edges[below(std::size(edges))];
        break;
      }
      case 3:
        bytes.resize(at);
        break;
      case 4:
        erase(bytes, at, 1 + below(16));
        break;
      case 5: {  // a piece of its own, once more
        const size_t count = std::min(1 + below(64), bytes.size() - at);
        const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(at);
        const Bytes piece(begin, begin + static_cast<std::ptrdiff_t>(count));
        insert(bytes, below(bytes.size()), piece);
        break;
      }
      case 6: {  // a piece of another seed
        const Bytes& other = seeds_[below(seeds_.size())];
        if (other.empty()) break;
        const size_t from = below(other.size());
        const size_t count = std::min(1 + below(256), other.size() - from);
        const auto begin = other.begin() + static_cast<std::ptrdiff_t>(from);
        if (below(2) == 0) erase(bytes, at, count);
        insert(bytes, std::min(at, bytes.size()), Bytes(begin, begin + static_cast<std::ptrdiff_t>(count)));
        break;
      }
      case 7: {  // a protobuf varint in place of a byte: huge, negative, or longer than it may be
        Bytes varint(1 + below(11), static_cast<uint8_t>(below(2) == 0 ? 0xff : 0x80));
        varint.back() = static_cast<uint8_t>(below(128));
        erase(bytes, at, 1);
        insert(bytes, at, varint);
        break;
      }
      default: {  // a digit, so that text formats see other numbers
        const auto digit = std::find_if(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.end(),
                                        [](uint8_t b) { return b >= '0' && b <= '9'; });
        if (digit == bytes.end()) break;
        *digit = static_cast<uint8_t>("0123456789-.e"[below(13)]);
        if (below(2) == 0) insert(bytes, static_cast<size_t>(digit - bytes.begin()), Bytes(1 + below(20), '9'));
        break;
      }
    }
  }

  std::vector<Bytes> seeds_;
  std::mt19937_64 random_;
};

void run_input(Bytes bytes) {
  g_input = std::move(bytes);
  ::alarm(kSecondsPerInput);
  LLVMFuzzerTestOneInput(g_input.data(), g_input.size());
  ::alarm(0);
}

}  // namespace

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  if (argc < 2 || argc > 4 || (argc == 2) != fs::is_regular_file(argv[1])) {
    std::fprintf(stderr, "usage: %s CORPUS SECONDS [SEED], or %s FILE\n", argv[0], argv[0]);
    return 2;
  }
  g_crash_file = "crash-" + fs::path(argv[0]).filename().string() + ".bin";
  for (const int number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM}) std::signal(number, on_signal);
  if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(keep_input);

  if (argc == 2) {
    run_input(read_bytes(argv[1]));
    return 0;
  }
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(argv[1])) files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  if (files.empty()) {
    std::fprintf(stderr, "%s: no files\n", argv[1]);
    return 2;
  }
  std::vector<Bytes> seeds;
  for (const std::string& file : files) seeds.push_back(read_bytes(file));
  silence_stderr();
  for (const Bytes& seed : seeds) run_input(seed);

  const auto stop = std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(argv[2]));
  Mutator mutator(seeds, argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1);
  long count = 0;
  for (; std::chrono::steady_clock::now() < stop; ++count) run_input(mutator.next());
  std::printf("%zu seeds and %ld mutations of them, no surprises\n", seeds.size(), count);
  return 0;
}
