#pragma once

// Where the pictures of an evaluation come from: generated ones with their truth, or the user's own.

#include <memory>
#include <string>
#include <vector>

#include "pellucid/evaluate.h"

namespace pellucid {

/// A picture to explain with what is known about it, in pixels of the model's input.
struct JudgedPicture {
  Picture picture;
  std::string target;          ///< As Target::parse takes it.
  std::vector<int64_t> right;  ///< Classes that are right answers; empty when not known. Other answers can be left out.
  int64_t seed = 0;            ///< Of the draw.
  Tensor mask;                 ///< [H,W] bool, where the evidence is; undefined when not known.
  Tensor ignore;  ///< [H,W] bool, where the truth is not known: crowds, difficult things, borders. May be undefined.
  std::vector<TruthBox> boxes;
  Tensor others;                   ///< [H,W] bool, objects of other classes.
  std::vector<TruthPart> parts;    ///< Parts with the drop of the logit when each is taken away.
  std::vector<std::string> notes;  ///< What is not known about it, and why.
  UsedFile file, truth;            ///< What was read for it, with its hash; empty for generated pictures.
};

/// Pictures by number, made when asked for, so that memory does not grow with their count.
class PictureSource {
 public:
  virtual ~PictureSource() = default;
  virtual std::string name() const = 0;
  virtual int64_t size() const = 0;
  /// Throws Error(kInvalidInput) when it cannot be read.
  virtual JudgedPicture picture(int64_t index) const = 0;
};

/// Pictures of a generated set for a network: `per_class` of each class for each seed from `first_seed` on.
std::unique_ptr<PictureSource> generated_pictures(const std::string& set, const LoadedModel& model, int64_t per_class,
                                                  int64_t seeds, uint64_t first_seed, int64_t size);
/// The user's own.
std::unique_ptr<PictureSource> own_pictures(const EvaluateRequest& request, const LoadedModel& model);

}  // namespace pellucid
