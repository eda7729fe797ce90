#pragma once

#include <optional>
#include <string>

#include "pellucid/synthesis.h"

namespace pellucid {

/// Writes where a run is as an ONNX file whose initializers are its tensors, atomically. `recipe` and `model` (its
/// SHA-256) say whose run it is.
void save_checkpoint(const std::string& path, const SynthesisCheckpoint& checkpoint, const Recipe& recipe,
                     const std::string& model);

/// The checkpoint, or nothing when there is no such file. Throws Error(kInvalidInput) for a file that is none, or one
/// of another recipe or model.
std::optional<SynthesisCheckpoint> load_checkpoint(const std::string& path, const Recipe& recipe,
                                                   const std::string& model);

}  // namespace pellucid
