#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pellucid {

/// Number of single-character insertions, deletions and substitutions between two strings (Levenshtein).
size_t edit_distance(std::string_view a, std::string_view b);

/// Up to `count` of `candidates` closest to `name`, nearest first; those too far away to be a typing mistake are left
/// out unless they contain `name` or are contained in it.
std::vector<std::string> nearest_names(std::string_view name, const std::vector<std::string>& candidates,
                                       size_t count = 3);

/// "; did you mean 'a' or 'b'?", or nothing when no candidate is near.
std::string did_you_mean(std::string_view name, const std::vector<std::string>& candidates);

/// A name from a file (a label, a layer) as one line that is safe to print on a terminal: control characters, escape
/// sequences and invalid UTF-8 become '?', and anything beyond `max_length` bytes is cut with "...".
std::string printable(std::string_view text, size_t max_length = 120);

/// A name that is safe as one component of a path on any system: [A-Za-z0-9._+-] and valid non-ASCII UTF-8 stay, the
/// rest becomes '_'; never empty, never starting with '.' or '-', never a device name, at most 100 bytes.
std::string file_name_from(std::string_view text);

/// Matches '*' (any run) and '?' (one character) against the whole of `text`; linear in practice, no recursion.
bool glob_match(std::string_view pattern, std::string_view text);

std::vector<std::string> split(std::string_view text, char separator);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string trim(std::string_view text);

/// Strict parsers: the whole of `text` must be a decimal number in the C locale; hex, NaN, infinities, leading '+',
/// blanks and digit separators are refused. They return false and leave `value` alone when it is not.
bool parse_int(std::string_view text, int64_t& value);
bool parse_double(std::string_view text, double& value);

/// Shortest decimal that reads back as the same double ("0.15", "50", "1e-06"), whatever the locale.
std::string number_text(double value);

}  // namespace pellucid
