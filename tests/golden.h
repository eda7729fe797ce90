#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "pellucid/tensor.h"
#include "support/compare.h"

namespace pellucid::test {

/// The number format that a network was run in when its result is held against a golden array.
enum class Run { kFloat32, kFloat64 };

/// One golden array as the manifest describes it.
struct GoldenEntry {
  std::string path;    ///< Below the golden folder: "resnet20/dog_test_0012/t5/gradient.input.npy".
  std::string method;  ///< "values", "pgc.gradcam.last", ...
  std::string layer;   ///< ONNX value name; empty when the array belongs to none.
  std::optional<int64_t> target;
  Shape shape;
  std::string note;
  Tolerance tol_f32;  ///< Bounds are negative for arrays that are kept only to show the noise floor.
  Tolerance tol_f64;
  bool sign_arbitrary = false;
};

/// The arrays of published implementations in `shared/golden`, described in its README. Reads files only when asked to.
///
///   const auto golden = Golden::open();
///   if (!golden) GTEST_SKIP() << Golden::absent();
///   EXPECT_TRUE(golden->matches(map, golden->entry("resnet20/dog_test_0012/t5/pgc.gradcam.last.raw.npy"),
///                               Run::kFloat64));
class Golden {
 public:
  /// From the environment's PELLUCID_SHARED, or else the folder `shared` beside the source tree; nullopt when neither
  /// has a golden folder. Throws Error(kInvalidInput) when there is one that cannot be read.
  static std::optional<Golden> open();
  /// Why `open` gave nothing, for GTEST_SKIP.
  static std::string absent();

  /// The folder that holds golden, models and images.
  const std::string& shared() const { return shared_; }
  /// Everything the manifest says, for scalars and for the groups under "other".
  const nlohmann::json& manifest() const { return *manifest_; }

  /// In the order of their paths.
  const std::vector<GoldenEntry>& entries() const { return entries_; }
  /// Throws Error(kUsage) when the manifest does not list the path.
  const GoldenEntry& entry(const std::string& path) const;
  bool has(const std::string& path) const { return by_path_.count(path) != 0; }
  /// The entries of one folder ("resnet20/dog_test_0012/t5"), without its subfolders.
  std::vector<GoldenEntry> entries_in(const std::string& folder) const;

  /// An array of the golden folder, listed or not, widened to float64.
  Tensor load(const std::string& path) const;

  /// Compares within the entry's tolerance for the run, either sign where the manifest says that it is arbitrary.
  ::testing::AssertionResult matches(const Tensor& actual, const GoldenEntry& entry, Run run) const;

 private:
  Golden(std::string shared, std::shared_ptr<const nlohmann::json> manifest);

  std::string shared_;
  std::shared_ptr<const nlohmann::json> manifest_;
  std::vector<GoldenEntry> entries_;
  std::map<std::string, size_t> by_path_;
};

/// What pytorch-grad-cam returns for a raw map [h,w]: scaled, resampled to [height,width], scaled. Each of the two
/// scalings is ReLU, minus the minimum, over 1e-7 + the maximum.
Tensor pytorch_grad_cam_picture(const Tensor& raw, int64_t height, int64_t width);

}  // namespace pellucid::test
