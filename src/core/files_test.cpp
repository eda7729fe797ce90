#include "pellucid/files.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "pellucid/error.h"

namespace pellucid {
namespace {

namespace fs = std::filesystem;

class Files : public ::testing::Test {
 protected:
  Files() {
    std::string pattern = (fs::temp_directory_path() / "pellucid-files-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  ~Files() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  size_t num_entries() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  std::string folder_;
};

template <typename F>
std::string message_of(F&& call, ErrorKind kind) {
  try {
    call();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind);
    return e.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

TEST_F(Files, WrittenBytesReadBackAndNothingElseIsLeft) {
  const std::string bytes("a\0b\xFF\n", 5);
  write_file_atomically(path("x.bin"), bytes);
  EXPECT_EQ(read_file(path("x.bin"), 5), bytes);
  write_file_atomically(path("x.bin"), "");
  EXPECT_EQ(read_file(path("x.bin"), 0), "");
  EXPECT_EQ(num_entries(), 1u);
}

TEST_F(Files, LargeFileReadsBack) {
  std::string bytes(3'500'001, 'x');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 2654435761u >> 24);
  write_file_atomically(path("large"), bytes);
  EXPECT_TRUE(read_file(path("large"), 1 << 30) == bytes);
  EXPECT_EQ(sha256_file(path("large")), sha256_hex(bytes));
}

TEST_F(Files, WriteFollowsALinkedFolder) {
  fs::create_directory(path("real"));
  fs::create_directory_symlink(path("real"), path("link"));
  make_folder(path("link"));
  write_file_atomically(path("link/x"), "hello");
  EXPECT_EQ(read_file(path("real/x"), 100), "hello");
}

TEST_F(Files, WriteReplacesALinkInsteadOfItsTarget) {
  write_file_atomically(path("victim"), "precious");
  fs::create_symlink(path("victim"), path("out"));
  write_file_atomically(path("out"), "new");
  EXPECT_EQ(read_file(path("victim"), 100), "precious");
  EXPECT_EQ(read_file(path("out"), 100), "new");
}

TEST_F(Files, FailedWriteKeepsTheOldFileAndLeavesNoOther) {
  write_file_atomically(path("x"), "old");
  // A limit on file size fails in write(2) exactly as a full disk does.
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small { 4096, before.rlim_max };
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string message =
      message_of([&] { write_file_atomically(path("x"), std::string(10000, 'y')); }, ErrorKind::kFailed);
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_EQ(message, path("x") + ": cannot write: File too large");
  EXPECT_EQ(read_file(path("x"), 100), "old");
  EXPECT_EQ(num_entries(), 1u);
}

TEST_F(Files, WriteSaysWhyItCannot) {
  EXPECT_EQ(message_of([&] { write_file_atomically(path("no/x"), "1"); }, ErrorKind::kFailed),
            path("no/x") + ": cannot write: No such file or directory");
  EXPECT_EQ(message_of([&] { write_file_atomically(folder_, "1"); }, ErrorKind::kFailed),
            folder_ + ": cannot write: it exists and is a folder");
  EXPECT_EQ(message_of([&] { write_file_atomically("/dev/null", "1"); }, ErrorKind::kFailed),
            "/dev/null: cannot write: it exists and is not a regular file");
  EXPECT_EQ(message_of([&] { write_file_atomically("", "1"); }, ErrorKind::kFailed),
            "(empty path): cannot write: not a file name");
  const std::string hidden_end = path("x") + std::string("\0.png", 5);
  EXPECT_EQ(message_of([&] { write_file_atomically(hidden_end, "1"); }, ErrorKind::kFailed),
            path("x") + "?.png: cannot write: not a file name");
  EXPECT_EQ(num_entries(), 0u);
}

TEST_F(Files, ReadSaysWhyItCannot) {
  EXPECT_EQ(message_of([&] { read_file(path("none"), 10); }, ErrorKind::kInvalidInput),
            path("none") + ": cannot open: No such file or directory");
  EXPECT_EQ(message_of([&] { read_file(folder_, 10); }, ErrorKind::kInvalidInput),
            folder_ + ": is a folder; a file is needed");
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  EXPECT_EQ(message_of([&] { read_file(path("pipe"), 10); }, ErrorKind::kInvalidInput),
            path("pipe") + ": is not a regular file");
  write_file_atomically(path("x"), "12345");
  EXPECT_EQ(message_of([&] { read_file(path("x"), 4); }, ErrorKind::kInvalidInput),
            path("x") + ": holds more than the 4 bytes accepted");
}

TEST_F(Files, MakeFolderMakesParentsAndToleratesWhatIsThere) {
  make_folder(path("a/b/c/"));
  make_folder(path("a/b/c"));
  EXPECT_TRUE(fs::is_directory(path("a/b/c")));
  write_file_atomically(path("file"), "");
  EXPECT_EQ(message_of([&] { make_folder(path("file")); }, ErrorKind::kFailed),
            path("file") + ": cannot create the folder: a file of that name exists");
  EXPECT_EQ(message_of([&] { make_folder(path("file/sub")); }, ErrorKind::kFailed),
            path("file/sub") + ": cannot create the folder: Not a directory");
}

// Digests of FIPS 180-2, appendix B, and of the empty message (NIST's SHA256ShortMsg).
TEST(Sha256, PublishedVectors) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_hex(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

}  // namespace
}  // namespace pellucid
