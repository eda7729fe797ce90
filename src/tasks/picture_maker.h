#pragma once

#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "pellucid/make_pictures.h"
#include "tasks/second_models.h"

namespace pellucid {

/// One picture of a batch.
struct BatchItem {
  std::string name, title;
  int64_t class_index = -1;
};

/// One run: a picture, or a batch of them.
struct PictureJob {
  std::string name;   ///< Of its files.
  std::string title;  ///< On the sheet.
  std::string subtitle;
  Recipe recipe;
  int64_t class_index = -1;
  std::map<std::string, Tensor> pictures;              ///< What the recipe refers to, in display range.
  std::map<std::string, Tensor> tensors;               ///< Other tensors that it refers to.
  std::map<std::string, std::string> files;            ///< Where pictures come from, for result.json.
  Tensor source;                                       ///< [1,3,H,W], shown before the result.
  std::vector<std::pair<std::string, Tensor>> beside;  ///< With titles, shown after the source.
  /// Called with the finished picture, to add measures.
  std::function<void(const PictureJob&, MadePicture&)> measure;
  bool new_row = false;
  /// Begins with the picture before, enlarged by this about its middle, with the contrast of the picture "start"; 0:
  /// does not.
  double zoom = 0;
  std::string inputs;            ///< SHA-256 of what the run begins with; set by the maker.
  std::vector<BatchItem> batch;  ///< One for each picture of the recipe's batch; empty: one picture, as above.
};

/// A recipe of a family, the weight of its objective and which one it is; empty: any.
struct WeightedRecipe {
  Recipe recipe;
  double weight = 1;
  std::string objective;
};

class FinishedPictures;

/// Runs jobs and writes what comes out of them.
class PictureMaker {
 public:
  PictureMaker(std::string verb, const MakeOptions& options, const LoadedModel& model, Progress* progress);

  /// The recipe of a verb by the options: by name or from a file, with size, steps and seed.
  Recipe recipe(const std::string& fallback, const std::string& family) const;
  Recipe recipe(const NamedRecipe& named) const;
  /// The same with its objective and the weight of that; 1 for one from a file.
  WeightedRecipe choose(const std::string& fallback, const std::string& family) const;
  /// One from a file, with what the options say otherwise.
  Recipe stored(Recipe recipe) const;
  const LayerTable& layers() const { return layers_; }
  /// Network, pictures, tensors and second networks that a job's recipe refers to.
  SynthesisContext context(const PictureJob& job, Progress* progress);
  /// Adds to the notes of the result.
  void note(const std::string& text) { notes_.push_back(text); }
  int64_t num_classes() const;

  /// Stops early when cancelled, with the pictures that are there.
  MakeResult run(const std::vector<PictureJob>& jobs);
  /// Pictures of a sheet for many: as small as they are.
  void set_atlas() { atlas_ = true; }
  const LoadedModel& model() const { return model_; }
  Progress* progress() const { return progress_; }

 private:
  void fit(Recipe& recipe) const;
  nlohmann::ordered_json heading() const;
  void complete(PictureJob& job, const MakeResult& before);
  std::vector<MadePicture> kept(const PictureJob& job, const FinishedPictures& finished) const;
  std::vector<MadePicture> make(const PictureJob& job, size_t index, size_t count);
  MadePicture made_from(const PictureJob& job, const SynthesisResult& result, int64_t b);
  void save(MadePicture& made) const;
  void judge(MadePicture& made);
  std::vector<Prediction> ranking(const Tensor& display);
  void add_cells(ContactSheet& sheet, const MadePicture& made, const PictureJob& job) const;
  void write(MakeResult& result, const std::vector<PictureJob>& jobs);
  std::string file(const std::string& name) const;

  std::string verb_;
  const MakeOptions& options_;
  const LoadedModel& model_;
  Progress* progress_;
  int64_t width_ = 0, height_ = 0;
  LayerTable layers_;
  SecondModels second_models_;
  std::vector<std::string> notes_;
  bool interrupted_ = false;
  int64_t num_stopped_ = 0;
  bool atlas_ = false;
};

/// What the model sees of a picture, [1,3,H,W] in display range.
Tensor display_from_picture(const Picture& picture, const ModelCard& card);
/// The pictures that inputs name, one by one: path and picture. Throws for the first that cannot be read.
std::vector<Picture> read_all_pictures(const std::vector<std::string>& inputs, const LoadedModel& model);

/// The photo with a longer side of so many pixels; 0 takes its own, up to `most`.
Image sized_photo(const Image& photo, int64_t side, int64_t most);

/// [1,3,H,W] in display range from an RGB image, and back from [3,H,W] (rounded; values outside of 0..1 are cut off).
/// Of [4,H,W] with opacity an RGBA image becomes.
Tensor display_from_image(const Image& image);
Image image_from_display(const Tensor& display);
/// The same in RGB for people to look at: what is transparent shows a checkerboard.
Image shown_from_display(const Tensor& display);

}  // namespace pellucid
