#include "tasks/judged_pictures.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>

#include "core/lower_case.h"
#include "pellucid/annotations.h"
#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/ground_truth.h"
#include "pellucid/text.h"
#include "tasks/run_model.h"

namespace pellucid {

namespace {

/// Pictures are drawn at the size of the model's input, so that truth needs no resampling.
class GeneratedPictures final : public PictureSource {
 public:
  GeneratedPictures(const GroundTruthSet& set, const LoadedModel& model, int64_t per_class, int64_t seeds,
                    uint64_t first_seed, int64_t size)
      : set_(set), model_(model), per_class_(per_class), seeds_(seeds), first_seed_(first_seed), size_(size) {
    if (model.card.width > 0) size_ = model.card.width;
  }

  std::string name() const override { return set_.name; }
  int64_t size() const override { return seeds_ * per_class_ * num_classes(); }

  JudgedPicture picture(int64_t index) const override {
    const int64_t seed = index / (per_class_ * num_classes());
    const int64_t label = index / per_class_ % num_classes();
    GroundTruthRequest request;
    request.label = static_cast<int>(label);
    // Training draws from small seeds; these are never among them.
    request.seed = 0xe7a1'0000'0000ULL + first_seed_ + static_cast<uint64_t>(seed);
    // Classes that share an index share the scene; pictures have to be independent for the statistics.
    request.index = static_cast<uint64_t>(index % (per_class_ * num_classes()));
    request.size = static_cast<int>(size_);
    const GroundTruthSample sample = draw_sample(set_, request);

    JudgedPicture judged;
    const std::string name = set_.name + "." + set_.classes[static_cast<size_t>(label)] + "." + std::to_string(seed) +
                             "." + std::to_string(index % per_class_);
    judged.picture = picture_from_image(sample.picture, name, name, model_);
    judged.target = std::to_string(label);
    judged.right = {label};
    for (const GroundTruthObject& object : sample.objects) judged.right.push_back(object.label);
    judged.seed = seed;
    judged.mask = mask_tensor(sample.mask);
    add_objects(sample, judged);
    add_parts(request, sample, judged);
    return judged;
  }

 private:
  int64_t num_classes() const { return static_cast<int64_t>(set_.classes.size()); }

  static void add_objects(const GroundTruthSample& sample, JudgedPicture& judged) {
    for (const GroundTruthObject& object : sample.objects) {
      const Tensor mask = mask_tensor(object.mask);
      if (object.label == sample.label) {
        judged.boxes.push_back({object.box.x, object.box.y, object.box.width, object.box.height});
      } else {
        judged.others = judged.others.defined() ? judged.others.logical_or(mask) : mask;
      }
    }
  }

  void add_parts(const GroundTruthRequest& request, const GroundTruthSample& sample, JudgedPicture& judged) const {
    if (sample.parts.size() < 2) return;
    const std::vector<double> importance = part_importance(model_.network, model_.card, set_, request);
    for (size_t i = 0; i < sample.parts.size(); ++i) {
      const GroundTruthPart& part = sample.parts[i];
      judged.parts.push_back({part.name, mask_tensor(part.mask()), importance[i], part.discriminative});
    }
  }

  const GroundTruthSet& set_;
  const LoadedModel& model_;
  int64_t per_class_, seeds_;
  uint64_t first_seed_;
  int64_t size_;
};

/// The annotations of one class, or all of them, as the model sees them.
class OwnPictures final : public PictureSource {
 public:
  OwnPictures(const EvaluateRequest& request, const LoadedModel& model)
      : request_(request), model_(model), paths_(expand_inputs(request.run.inputs)), names_(unique_names(paths_)) {
    AnnotationLimits limits;
    limits.image = request.run.image_limits;
    if (!request.truth.empty()) annotations_ = Annotations::open(request.truth, AnnotationFormat::kAuto, limits);
  }

  std::string name() const override { return "pictures"; }
  int64_t size() const override { return static_cast<int64_t>(paths_.size()); }

  JudgedPicture picture(int64_t index) const override {
    const auto i = static_cast<size_t>(index);
    JudgedPicture judged;
    const std::vector<Picture> found = load_pictures(paths_[i], names_[i], model_, request_.run.image_limits);
    if (found.size() != 1) throw_invalid(printable(paths_[i]) + ": holds several pictures; one was expected");
    judged.picture = found.front();
    judged.file = {paths_[i], sha256_file(paths_[i])};
    judged.target = request_.target == "truth" ? "top1" : request_.target;
    if (annotations_) {
      judged.truth = truth_file(paths_[i]);
      add_truth(judged);
    }
    return judged;
  }

 private:
  /// Of folders, where each picture has a file of its own.
  UsedFile truth_file(const std::string& picture) const {
    std::error_code ec;
    if (!std::filesystem::is_directory(std::filesystem::u8path(request_.truth), ec)) return {};
    const std::string file = annotations_->file_of(picture);
    return file.empty() ? UsedFile{} : UsedFile{file, sha256_file(file)};
  }

  void add_truth(JudgedPicture& judged) const {
    const Picture& p = judged.picture;
    const std::vector<Annotation> all = annotations_->of(p.path, p.photo.width, p.photo.height);
    if (all.empty()) {
      judged.notes.push_back(p.name + ": nothing is annotated for it; what needs truth is left open");
      return;
    }
    std::string label;
    if (request_.target == "truth") {
      label = largest_known_class(all);
      if (!label.empty()) {
        judged.right = classes_of(label);
        judged.target = std::to_string(judged.right.front());
      } else if (const std::string names = labels_of(all); !names.empty()) {
        const bool known = std::any_of(
            all.begin(), all.end(), [&](const Annotation& a) { return left_out(a) && !classes_of(a.label).empty(); });
        judged.notes.push_back(
            p.name +
            (known ? ": only crowds and difficult things are annotated" : ": the model has no class " + names) +
            "; its best class is explained, and all that is annotated counts as truth");
      }
    }
    const ModelView view = view_of(p, model_.card);
    std::vector<Annotation> own, others, unknown;
    for (const Annotation& a : all) {
      const bool asked = label.empty() || a.label == label;
      if (left_out(a) && !asked) continue;
      (left_out(a) ? unknown : asked ? own : others).push_back(a);
    }
    const auto together = [&](const std::vector<Annotation>& some) {
      return some.empty() ? Tensor() : mask_tensor(mask_in_view(union_of_masks(some), view));
    };
    const Tensor mask = together(own);
    if (!mask.defined() || !mask.any().item<bool>()) {
      judged.notes.push_back(p.name +
                             ": nothing certain is annotated within what the model sees; what needs truth is "
                             "left open");
      return;
    }
    judged.mask = mask;
    judged.others = together(others);
    judged.ignore = together(unknown);
    const Image border = annotations_->unknown(p.path, p.photo.width, p.photo.height);
    if (!border.pixels.empty()) {
      const Tensor between = mask_tensor(mask_in_view(border, view));
      judged.ignore = judged.ignore.defined() ? judged.ignore.logical_or(between) : between;
    }
    if (judged.ignore.defined()) judged.ignore = judged.ignore.logical_and(mask.logical_not());
    for (const Annotation& a : own) {
      const AnnotationBox box = box_in_view(a.box, view);
      if (box.width > 0 && box.height > 0) judged.boxes.push_back(whole_pixels(box));
    }
  }

  /// A group that was not told apart, or a thing that the data set leaves out of scores: neither truth nor its absence.
  static bool left_out(const Annotation& a) { return a.crowd || a.difficult; }

  static TruthBox whole_pixels(const AnnotationBox& box) {
    const auto x = static_cast<int64_t>(std::floor(box.x)), y = static_cast<int64_t>(std::floor(box.y));
    return {x, y, std::max<int64_t>(1, static_cast<int64_t>(std::ceil(box.x + box.width)) - x),
            std::max<int64_t>(1, static_cast<int64_t>(std::ceil(box.y + box.height)) - y)};
  }

  /// Classes whose label this is, or else one of whose names it is ("dragonfly" of "dragonfly, darning needle"); where
  /// there is none, the same whatever the case of letters. By their index, since a label may be a number itself or
  /// stand for several classes; empty for a class that the model does not have.
  std::vector<int64_t> classes_of(const std::string& label) const {
    std::vector<int64_t> exact = classes_called(label, [](const std::string& name) { return trim(name); });
    return !exact.empty() ? exact
                          : classes_called(label, [](const std::string& name) { return lower_case(trim(name)); });
  }

  template <class Spelling>
  std::vector<int64_t> classes_called(const std::string& label, const Spelling& spelled) const {
    const std::string wanted = spelled(label);
    std::vector<int64_t> whole, named;
    for (size_t i = 0; i < model_.card.labels.size(); ++i) {
      const std::string& own = model_.card.labels[i];
      const std::vector<std::string> names = split(own, ',');
      if (spelled(own) == wanted) whole.push_back(static_cast<int64_t>(i));
      if (std::any_of(names.begin(), names.end(), [&](const std::string& name) { return spelled(name) == wanted; })) {
        named.push_back(static_cast<int64_t>(i));
      }
    }
    return whole.empty() ? named : whole;
  }

  static std::string labels_of(const std::vector<Annotation>& all) {
    std::vector<std::string> names;
    for (const Annotation& a : all) {
      const std::string name = "'" + printable(a.label, 40) + "'";
      if (!a.label.empty() && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
    return join(names, ", ");
  }

  std::string largest_known_class(const std::vector<Annotation>& all) const {
    std::map<std::string, double> area;
    for (const Annotation& a : all) {
      if (!a.label.empty() && !left_out(a) && !classes_of(a.label).empty()) area[a.label] += a.box.width * a.box.height;
    }
    std::string best;
    for (const auto& [label, pixels] : area) {
      if (best.empty() || pixels > area[best]) best = label;
    }
    return best;
  }

  const EvaluateRequest& request_;
  const LoadedModel& model_;
  std::vector<std::string> paths_, names_;
  std::optional<Annotations> annotations_;
};

}  // namespace

std::unique_ptr<PictureSource> own_pictures(const EvaluateRequest& request, const LoadedModel& model) {
  return std::make_unique<OwnPictures>(request, model);
}

std::unique_ptr<PictureSource> generated_pictures(const std::string& set, const LoadedModel& model, int64_t per_class,
                                                  int64_t seeds, uint64_t first_seed, int64_t size) {
  return std::make_unique<GeneratedPictures>(find_ground_truth_set(set), model, per_class, seeds, first_seed, size);
}

}  // namespace pellucid
