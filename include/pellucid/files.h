#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pellucid {

/// Writes `bytes` to a temporary name beside `path`, flushes it to disk and renames it, so that the file is either
/// whole or absent. Throws Error(kFailed) naming the path and the system's reason.
void write_file_atomically(const std::string& path, std::string_view bytes);

/// The whole of a regular file. Throws Error(kInvalidInput) when it is missing, is not a regular file, or holds more
/// than `max_bytes`.
std::string read_file(const std::string& path, int64_t max_bytes);

/// Creates the folder and its parents. Throws Error(kFailed) when that is not possible or the path is something else.
void make_folder(const std::string& path);

/// SHA-256 of the bytes as 64 lower-case hex digits (FIPS 180-4).
std::string sha256_hex(std::string_view bytes);
std::string sha256_file(const std::string& path);

}  // namespace pellucid
