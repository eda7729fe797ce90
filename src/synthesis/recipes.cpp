// Published recipes as data. To add one: an entry in the table, and its paper in docs/bibliography.bib. Where a
// publication leaves a number open, or has it for one network only, ours is marked with "ours".

#include <set>

#include "pellucid/error.h"
#include "pellucid/synthesis.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

constexpr Paper kErhan2009{"erhan2009", "Erhan, Bengio, Courville, Vincent",
                           "Visualizing Higher-Layer Features of a Deep Network", "TR 1341, Universite de Montreal",
                           2009};
constexpr Paper kSimonyan2014{"simonyan2014", "Simonyan, Vedaldi, Zisserman",
                              "Deep Inside Convolutional Networks: Visualising Image Classification Models and "
                              "Saliency Maps",
                              "ICLR Workshop", 2014};
constexpr Paper kYosinski2015{"yosinski2015", "Yosinski, Clune, Nguyen, Fuchs, Lipson",
                              "Understanding Neural Networks Through Deep Visualization", "ICML DL Workshop", 2015};
constexpr Paper kOygaard2015{"oygaard2015", "Oygaard", "Visualizing GoogLeNet Classes", "auduno.com", 2015};
constexpr Paper kTyka2016{"tyka2016", "Tyka", "Class Visualization with Bilateral Filters", "mtyka.github.io", 2016};
constexpr Paper kMordvintsev2015{"mordvintsev2015", "Mordvintsev, Olah, Tyka",
                                 "Inceptionism: Going Deeper into Neural Networks", "Google Research Blog", 2015};
constexpr Paper kMahendran2016{"mahendran2016", "Mahendran, Vedaldi",
                               "Visualizing Deep Convolutional Neural Networks Using Natural Pre-Images", "IJCV", 2016};
constexpr Paper kOlah2017{"olah2017", "Olah, Mordvintsev, Schubert", "Feature Visualization", "Distill", 2017};
constexpr Paper kGatys2015{"gatys2015", "Gatys, Ecker, Bethge", "Texture Synthesis Using Convolutional Neural Networks",
                           "NeurIPS", 2015};
constexpr Paper kGatys2016{"gatys2016", "Gatys, Ecker, Bethge",
                           "Image Style Transfer Using Convolutional Neural Networks", "CVPR", 2016};
constexpr Paper kGoodfellow2015{"goodfellow2015", "Goodfellow, Shlens, Szegedy",
                                "Explaining and Harnessing Adversarial Examples", "ICLR", 2015};
constexpr Paper kKurakin2017{"kurakin2017", "Kurakin, Goodfellow, Bengio", "Adversarial Examples in the Physical World",
                             "ICLR Workshop", 2017};
constexpr Paper kMadry2018{"madry2018", "Madry, Makelov, Schmidt, Tsipras, Vladu",
                           "Towards Deep Learning Models Resistant to Adversarial Attacks", "ICLR", 2018};

RecipeStage stage(int64_t steps, double scale = 1, const std::string& optimizer = "",
                  const std::vector<std::string>& after_step = {}) {
  RecipeStage s;
  s.steps = steps;
  s.scale = scale;
  s.optimizer = optimizer;
  s.after_step = after_step;
  return s;
}

Recipe pixels_in_gray_levels(const std::string& parameterization, const std::string& optimizer, int64_t steps) {
  Recipe r;
  r.unit = PixelUnit::kCaffe;
  r.parameterization = parameterization;
  r.optimizer = optimizer;
  r.stages = {stage(steps)};
  return r;
}

/// A picture of fixed norm and nothing else. The norm, that of a photograph, and the steps are ours.
Recipe erhan2009() {
  Recipe r = pixels_in_gray_levels("pixels:mean=-1,sd=0.1,clamp=false", "ascent:rate=4,rate_end=0.2", 200);
  r.gradient = {"normalize"};
  r.after_step = {"sphere:rms=68.92"};
  return r;
}

/// S - lambda |I|^2 from the mean color. Lambda and the steps, in gray levels, are ours.
Recipe simonyan2014() {
  Recipe r = pixels_in_gray_levels("pixels:mean=-1,sd=0.004,clamp=false", "ascent:rate=3,rate_end=0.3", 200);
  r.gradient = {"normalize"};
  r.regularizers = {{1e-6, "l2"}};
  return r;
}

/// Bounded colors and total variation, with the paper's weights for B = 80.
Recipe mahendran2016() {
  Recipe r = pixels_in_gray_levels("pixels:mean=-1,sd=0.08,clamp=false", "adagrad:cool=50", 350);
  r.regularizers = {{1, "alpha-norm:alpha=6,scale=80"}, {0.0066015625, "tv:beta=2,mean=true"}};
  r.after_step = {"bound:norm=160"};
  return r;
}

/// Set C of the toolbox, the default. Its rate fits one network; ours is in gray levels, with half its steps.
Recipe yosinski2015() {
  Recipe r = pixels_in_gray_levels("pixels:mean=-1,sd=0.04", "ascent:rate=4", 500);
  r.gradient = {"normalize"};
  r.after_step = {"decay:share=0.0001", "blur:begin=1,end=1,every=4"};
  return r;
}

/// The same for maximization. Weights of objective and total variation are ours.
Recipe mahendran2016_maximization() {
  Recipe r = mahendran2016();
  r.transformations = {"roll:pixels=4"};
  r.regularizers[1].weight = 4 * r.regularizers[1].weight;
  return r;
}

/// The notebook's schedule for networks without side branches.
Recipe oygaard2015() {
  Recipe r = pixels_in_gray_levels("pixels:mean=0.784,sd=0.031", "ascent:rate=11", 190);
  r.transformations = {"window:side=224"};
  r.gradient = {"normalize"};
  r.after_step = {"blur:begin=2.5,end=0.78,every=1"};
  r.stages.push_back(stage(450, 1.2, "ascent:rate=6,rate_end=3", {"blur:begin=0.936,end=0.4,every=1"}));
  return r;
}

/// Three scales, smoothed within edges. All numbers are ours.
Recipe tyka2016() {
  Recipe r = pixels_in_gray_levels("pixels:mean=0.5,sd=0.04", "ascent:rate=6,rate_end=2", 150);
  r.transformations = {"roll:pixels=8"};
  r.gradient = {"normalize"};
  r.after_step = {"bilateral:space_begin=3,space_end=1,color=0.15,every=2,until=0.95"};
  r.stages = {stage(150), stage(150, 1.5), stage(150, 1.3)};
  return r;
}

/// From noise through octaves, with every band of frequencies made equally strong.
Recipe multiscale() {
  Recipe r = pixels_in_gray_levels("pixels:mean=0.5,sd=0.04", "ascent:rate=2", 60);
  r.transformations = {"roll:pixels=16"};
  r.gradient = {"laplacian:levels=4", "normalize:by=std"};
  r.stages = {stage(80), stage(60, 1.4), stage(60, 1.4), stage(60, 1.4)};
  return r;
}

Recipe lucid() {
  Recipe r;
  r.parameterization = "fourier";
  r.transformations = {"pad:pixels=12", "jitter:pixels=8", "scale:low=0.9,high=1.1,count=11",
                       "rotate:degrees=10,count=21,still=5", "jitter:pixels=4"};
  r.optimizer = "adam:rate=0.05";
  r.stages = {stage(512)};
  return r;
}

/// The weight of the likeness is one of the published ones; without their jitter, which needs a larger picture.
Recipe inversion() {
  Recipe r = mahendran2016();
  r.redirect_until = -1;
  return r;
}

Recipe deepdream() {
  Recipe r = pixels_in_gray_levels("pixels", "ascent:rate=1.5", 10);
  r.transformations = {"roll:pixels=32"};
  r.gradient = {"normalize"};
  r.stages = {stage(10), stage(10, 1.4), stage(10, 1.4), stage(10, 1.4)};
  r.carry = "detail";
  r.redirect_until = -1;
  return r;
}

Recipe gatys(int64_t steps) {
  Recipe r = pixels_in_gray_levels("pixels:mean=0.5,sd=0.1", "lbfgs:history=20", steps);
  r.redirect_until = -1;
  return r;
}

Recipe attack(const std::string& delta, const std::string& by, const std::string& optimizer, int64_t steps) {
  Recipe r;
  r.parameterization = delta;
  r.gradient = {"normalize:by=" + by};
  r.optimizer = optimizer;
  r.stages = {stage(steps)};
  r.redirect_until = -1;
  r.judge_every = 1;
  return r;
}

std::vector<NamedRecipe> build() {
  std::vector<NamedRecipe> table{
      {"erhan2009", "visualize", "A fixed norm, no prior.", kErhan2009, "", 1, erhan2009()},
      {"simonyan2014", "visualize", "Squares of pixels.", kSimonyan2014, "", 1, simonyan2014()},
      {"mahendran2016", "visualize", "Total variation and bounded colors.", kMahendran2016, "", 0.2,
       mahendran2016_maximization()},
      {"yosinski2015", "visualize", "Decay and a blur every few steps.", kYosinski2015, "", 1, yosinski2015()},
      {"oygaard2015", "visualize", "Blur that fades, two sizes.", kOygaard2015, "", 1, oygaard2015()},
      {"tyka2016", "visualize", "A bilateral filter, three sizes.", kTyka2016, "", 1, tyka2016()},
      {"multiscale", "visualize", "Octaves, equal bands of the gradient.", kMordvintsev2015, "", 1, multiscale()},
      {"lucid", "visualize", "Decorrelated spectrum, random transformations.", kOlah2017, "", 1, lucid()},
      {"invert-mahendran2016", "invert", "Total variation and bounded colors.", kMahendran2016, "match", 100,
       inversion()},
      {"deepdream", "dream", "Octaves of a picture.", kMordvintsev2015, "energy", 1, deepdream()},
      {"gatys2015", "texture", "Gram matrices from noise.", kGatys2015, "gram", 1, gatys(300)},
      {"gatys2016", "style", "Gram matrices of one picture, content of another.", kGatys2016, "gram", 1, gatys(300)},
      {"fgsm", "attack", "One sign step of 4/255.", kGoodfellow2015, "log-probability", -1,
       attack("delta:norm=linf,size=4", "sign", "ascent:rate=0.01568627450980392", 1)},
      {"bim", "attack", "Sign steps of 1/255 within 4/255.", kKurakin2017, "log-probability", -1,
       attack("delta:norm=linf,size=4", "sign", "ascent:rate=0.00392156862745098", 5)},
      {"pgd", "attack", "Sign steps of 1/255 within 4/255 from a random start.", kMadry2018, "log-probability", -1,
       attack("delta:norm=linf,size=4,start=random", "sign", "ascent:rate=0.00392156862745098", 10)},
      {"pgd-l2", "attack", "Steps within a ball of norm 3.", kMadry2018, "log-probability", -1,
       attack("delta:norm=l2,size=765,start=random", "l2", "ascent:rate=0.75", 10)}};
  std::set<std::string> ids;
  for (const NamedRecipe& named : table) {
    if (!ids.insert(named.id).second) throw_failed("two recipes are called '" + named.id + "'");
  }
  for (NamedRecipe& named : table) named.recipe.name = named.id;
  return table;
}

}  // namespace

const std::vector<NamedRecipe>& recipes() {
  static const std::vector<NamedRecipe> table = build();
  return table;
}

const NamedRecipe& find_recipe(const std::string& id, const std::string& family) {
  std::vector<std::string> ids;
  for (const NamedRecipe& named : recipes()) {
    if (!family.empty() && named.family != family) continue;
    if (named.id == id) return named;
    ids.push_back(named.id);
  }
  throw_usage("no recipe '" + printable(id) + "'" + did_you_mean(id, ids) + "; there are " + join(ids, ", "));
}

}  // namespace pellucid
