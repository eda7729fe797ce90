#pragma once

#include <optional>
#include <string>

#include "pellucid/synthesis.h"

namespace pellucid {

/// Writes where a run is as an ONNX file whose initializers are its tensors, atomically. `recipe` and `begun_with`
/// (hashes of model and pictures) say whose run it is.
void save_checkpoint(const std::string& path, const SynthesisCheckpoint& checkpoint, const Recipe& recipe,
                     const std::string& begun_with);

/// The checkpoint, or nothing when there is no such file. Throws Error(kInvalidInput) for a file that is none, or one
/// of another recipe, model or picture.
std::optional<SynthesisCheckpoint> load_checkpoint(const std::string& path, const Recipe& recipe,
                                                   const std::string& begun_with);

}  // namespace pellucid
