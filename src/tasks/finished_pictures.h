#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "pellucid/make_pictures.h"

namespace pellucid {

/// Said of a picture whose run was cancelled.
inline constexpr const char* kInterruptedNote = "interrupted: the picture is not finished";
/// How the note of one begins whose numbers stopped being finite.
inline constexpr const char* kStoppedNote = "stopped early: ";

/// SHA-256 of named tensors and names, in their order: what a run begins with besides its recipe and model.
std::string inputs_sha256(const std::map<std::string, Tensor>& pictures, const std::map<std::string, Tensor>& tensors,
                          const std::map<std::string, std::string>& hashes);

/// The pictures that an output folder holds from a run before, by its result.json.
class FinishedPictures {
 public:
  /// `heading` is that of the new run: verb, model, card, device, version. Another one's pictures are not looked at,
  /// nor those of a file that is damaged.
  FinishedPictures(const MakeOptions& options, const nlohmann::ordered_json& heading);

  /// Whether the folder has results at all, of whatever request.
  bool any() const { return any_; }
  /// The picture of this name, when recipe and inputs are the same and every file is there that a run would write now.
  std::optional<MadePicture> find(const std::string& name, const Recipe& recipe, const std::string& inputs) const;

 private:
  bool there(const std::string& name) const;
  std::optional<MadePicture> read(const nlohmann::ordered_json& json, const Recipe& recipe) const;

  const MakeOptions& options_;
  bool any_ = false;
  std::map<std::string, nlohmann::ordered_json> pictures_;
};

}  // namespace pellucid
