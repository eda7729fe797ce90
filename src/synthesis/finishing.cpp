// What happens to the finished picture. In `finish` of a recipe these run once; as after-steps they work as well.

#include "pellucid/error.h"
#include "synthesis/colors.h"
#include "synthesis/papers.h"
#include "synthesis/part.h"

namespace pellucid {

namespace {

struct ReferenceParams {
  std::string picture = "style";
};
template <class V>
void describe(V& visit, ReferenceParams& p) {
  visit("picture", p.picture, TextLike{"the name of a picture"}, "Whose colors they are.");
}

/// The base of what takes colors from a picture.
class FromPicture : public AfterStep {
 public:
  FromPicture(const PartScope& scope, Tensor picture) : unit_(scope.unit), picture_(std::move(picture)) {}
  Tensor apply(const Tensor& pixels, const Tensor&, const StepInfo&) const override {
    const Tensor image = display_from_pixels(pixels, unit_);
    return pixels_from_display(recolored(image, picture_.to(image.options())), unit_);
  }

 protected:
  virtual Tensor recolored(const Tensor& image, const Tensor& reference) const = 0;

 private:
  PixelUnit unit_;
  Tensor picture_;
};

class Histogram final : public FromPicture {
 public:
  Histogram(const PartScope& scope, const ReferenceParams& p)
      : FromPicture(scope, scope.scaled_picture("histogram", p.picture, 1)) {}

 private:
  Tensor recolored(const Tensor& image, const Tensor& reference) const override {
    return with_histogram_of(image, reference);
  }
};

class KeepColor final : public FromPicture {
 public:
  KeepColor(const PartScope& scope, const ReferenceParams& p)
      : FromPicture(scope, scope.picture("keep-color", p.picture)) {}

 private:
  Tensor recolored(const Tensor& image, const Tensor& reference) const override {
    return with_color_of(image, reference);
  }
};

struct NoParams {};
template <class V>
void describe(V&, NoParams&) {}
class Clip final : public AfterStep {
 public:
  Clip(const PartScope& scope, const NoParams&) : unit_(scope.unit) {}
  Tensor apply(const Tensor& pixels, const Tensor&, const StepInfo&) const override {
    return pixels_from_display(display_from_pixels(pixels, unit_).clamp(0, 1), unit_);
  }

 private:
  PixelUnit unit_;
};

}  // namespace

std::vector<PartEntry<AfterStep>> finishing_steps() {
  return {
      part_entry<AfterStep, Histogram, ReferenceParams>("histogram", "The color histogram of a picture.", kGatys2015),
      part_entry<AfterStep, KeepColor, ReferenceParams>("keep-color", "The color of a picture, brightness kept.",
                                                        kGatys2017),
      part_entry<AfterStep, Clip, NoParams>("clip", "Values outside of display range cut off.")};
}

}  // namespace pellucid
