#pragma once

#include <string>

#include "pellucid/tensor.h"

namespace pellucid {

/// Context::segmenter: superpixels of a picture [C,H,W] in display range by "slic:SIZE" or "seeds:COUNT".
Tensor superpixels_of(const Tensor& picture, const std::string& spec);

}  // namespace pellucid
