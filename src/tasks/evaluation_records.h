#pragma once

#include <optional>
#include <string>

#include "tasks/evaluation_scores.h"

namespace pellucid {

/// What a run of `evaluate` has judged so far, one file for each map, so that a run that was stopped goes on where it
/// was. A record is found by a key that holds everything its numbers follow from; a run that asks for anything else
/// does not see it.
class EvaluationRecords {
 public:
  /// In `folder`/records; an empty folder keeps nothing.
  explicit EvaluationRecords(const std::string& folder);

  /// Empty when there is none, or when its file is damaged.
  std::optional<JudgedMap> find(const std::string& key) const;
  /// Written whole or not at all.
  void keep(const std::string& key, const JudgedMap& map) const;
  /// Takes the records away: the tables hold it all.
  void remove() const;

 private:
  std::string file(const std::string& key) const;
  std::string folder_;
};

/// Bytes of a tensor with its shape and element type, for a key; "none" for an undefined one.
std::string tensor_key(const Tensor& t);

}  // namespace pellucid
