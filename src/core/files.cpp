#include "pellucid/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "core/sha256.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {
namespace {

constexpr size_t kMaxPathShown = 300;
constexpr size_t kReadBlock = size_t{1} << 20;

std::string reason_text(int error_number) { return std::generic_category().message(error_number); }

std::string shown(const std::string& path) { return path.empty() ? "(empty path)" : printable(path, kMaxPathShown); }

bool has_nul(const std::string& path) { return path.find('\0') != std::string::npos; }

/// Closes on every way out; `release` hands the descriptor over.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

/// A file that disappears unless it is kept.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string path) : path_(std::move(path)) {}
  ~TemporaryFile() {
    if (!kept_) ::unlink(path_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  void keep() { kept_ = true; }

 private:
  std::string path_;
  bool kept_ = false;
};

[[noreturn]] void throw_write_error(const std::string& path, int error_number) {
  throw_failed(shown(path) + ": cannot write: " + reason_text(error_number));
}

int open_regular(const std::string& path, struct stat& info) {
  if (path.empty() || has_nul(path)) throw_invalid(shown(path) + ": cannot open: not a file name");
  // O_NONBLOCK: opening a named pipe must not wait for somebody to write to it.
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) throw_invalid(shown(path) + ": cannot open: " + reason_text(errno));
  if (::fstat(file.get(), &info) != 0) throw_invalid(shown(path) + ": cannot open: " + reason_text(errno));
  if (S_ISDIR(info.st_mode)) throw_invalid(shown(path) + ": is a folder; a file is needed");
  if (!S_ISREG(info.st_mode)) throw_invalid(shown(path) + ": is not a regular file");
  return file.release();
}

/// Reads into `buffer` until it is full or the file ends; returns the bytes read.
size_t read_some(int fd, char* buffer, size_t size, const std::string& path) {
  size_t filled = 0;
  while (filled < size) {
    const ssize_t got = ::read(fd, buffer + filled, size - filled);
    if (got == 0) break;
    if (got < 0) {
      if (errno == EINTR) continue;
      throw_invalid(shown(path) + ": cannot read: " + reason_text(errno));
    }
    filled += static_cast<size_t>(got);
  }
  return filled;
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return "./";
  return path.substr(0, slash + 1);
}

}  // namespace

void write_file_atomically(const std::string& path, std::string_view bytes) {
  if (path.empty() || has_nul(path) || path.back() == '/') {
    throw_failed(shown(path) + ": cannot write: not a file name");
  }
  // Renaming onto a device or a folder would replace it or fail late; links are replaced, never written through.
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode)) {
    throw_failed(shown(path) + ": cannot write: it exists and is " +
                 (S_ISDIR(info.st_mode) ? "a folder" : "not a regular file"));
  }

  static std::atomic<uint64_t> counter{0};
  const std::string folder = folder_of(path);
  std::string temporary;
  int fd = -1;
  do {
    temporary = folder + ".pellucid-" + std::to_string(::getpid()) + "-" + std::to_string(counter++) + ".tmp";
    fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (fd < 0 && errno == EEXIST);
  if (fd < 0) throw_write_error(path, errno);
  TemporaryFile guard(temporary);
  {
    Descriptor file(fd);
    for (size_t done = 0; done < bytes.size();) {
      const ssize_t put = ::write(file.get(), bytes.data() + done, bytes.size() - done);
      if (put < 0 && errno == EINTR) continue;
      if (put <= 0) throw_write_error(path, put < 0 ? errno : ENOSPC);
      done += static_cast<size_t>(put);
    }
    if (::fsync(file.get()) != 0 && errno != EINVAL && errno != ENOSYS) throw_write_error(path, errno);
    if (::close(file.release()) != 0) throw_write_error(path, errno);
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) throw_write_error(path, errno);
  guard.keep();

  // The new name is durable once the folder is flushed; some file systems cannot, and the file is whole either way.
  const Descriptor parent(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (parent.get() >= 0) static_cast<void>(::fsync(parent.get()));
}

std::string read_file(const std::string& path, int64_t max_bytes) {
  struct stat info {};
  const Descriptor file(open_regular(path, info));
  const auto too_large = [&] {
    throw_invalid(shown(path) + ": holds more than the " + std::to_string(max_bytes) + " bytes accepted");
  };
  if (info.st_size > max_bytes) too_large();
  // The size is only a hint: the file may grow while it is read, and some file systems report 0.
  std::string bytes;
  bytes.resize(static_cast<size_t>(std::max<int64_t>(info.st_size, 0)));
  bytes.resize(read_some(file.get(), bytes.data(), bytes.size(), path));
  std::vector<char> block;
  for (;;) {
    block.resize(bytes.empty() ? kReadBlock : std::min(kReadBlock, bytes.size()));
    const size_t got = read_some(file.get(), block.data(), block.size(), path);
    if (got == 0) return bytes;
    if (static_cast<int64_t>(bytes.size() + got) > max_bytes) too_large();
    bytes.append(block.data(), got);
  }
}

void make_folder(const std::string& path) {
  if (path.empty() || has_nul(path)) throw_failed(shown(path) + ": cannot create the folder: not a folder name");
  std::error_code error;
  std::filesystem::create_directories(path, error);
  // create_directories reports some existing paths (links to folders, trailing slashes) as errors.
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return;
  if (std::filesystem::exists(path, ignored)) {
    throw_failed(shown(path) + ": cannot create the folder: a file of that name exists");
  }
  throw_failed(shown(path) + ": cannot create the folder" + (error ? ": " + error.message() : ""));
}

std::string sha256_file(const std::string& path) {
  struct stat info {};
  const Descriptor file(open_regular(path, info));
  Sha256 hash;
  std::vector<char> block(kReadBlock);
  while (const size_t got = read_some(file.get(), block.data(), block.size(), path)) hash.update(block.data(), got);
  return hash.hex_digest();
}

}  // namespace pellucid
