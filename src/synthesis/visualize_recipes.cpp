// Recipes for what classes, channels and neurons look for; and for inversion and dreams.

#include "synthesis/recipe_families.h"

namespace pellucid {

namespace {

/// A picture of fixed norm and nothing else. The norm, that of a photograph, and the steps are ours.
Recipe erhan2009() {
  Recipe r = pixels_in_gray_levels("pixels:mean=-1,sd=0.1,clamp=false", "ascent:rate=4,rate_end=0.2", 200);
  r.gradient = {"normalize"};
  r.after_step = {"sphere:rms=68.92"};
  return r;
}

/// S - lambda |I|^2 from the mean color. Lambda is unpublished, and none fits two networks: ours is relative to the
/// gradient, which is divided by its size before the decay takes its share.
Recipe simonyan2014() {
  Recipe r = pixels_in_gray_levels("pixels:mean=-1,sd=0.004,clamp=false", "ascent:rate=3", 200);
  r.gradient = {"normalize"};
  r.after_step = {"decay:share=0.08"};
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
  r.stages.push_back(recipe_stage(450, 1.2, "ascent:rate=6,rate_end=3", {"blur:begin=0.936,end=0.4,every=1"}));
  return r;
}

/// Where the picture is smoothed after every step, what a step adds must be smooth, or the smoothing takes it away
/// again and a network whose gradient is mostly noise never leaves the gray start.
constexpr const char* kSmoothGradient = "blur:begin=3,end=1";

/// Three scales, smoothed within edges. All numbers are ours.
Recipe tyka2016() {
  Recipe r = pixels_in_gray_levels("pixels:mean=0.5,sd=0.04", "ascent:rate=6,rate_end=2", 150);
  r.transformations = {"roll:pixels=8"};
  r.gradient = {kSmoothGradient, "normalize"};
  r.after_step = {"bilateral:space_begin=3,space_end=1,color=0.15,every=2,until=0.95"};
  r.stages = {recipe_stage(150), recipe_stage(150, 1.5), recipe_stage(150, 1.3)};
  return r;
}

/// From noise through octaves, with every band of frequencies made equally strong.
Recipe multiscale() {
  Recipe r = pixels_in_gray_levels("pixels:mean=0.5,sd=0.04", "ascent:rate=2", 60);
  r.transformations = {"roll:pixels=16"};
  r.gradient = {"laplacian:levels=4", "normalize:by=std"};
  r.stages = {recipe_stage(80), recipe_stage(60, 1.4), recipe_stage(60, 1.4), recipe_stage(60, 1.4)};
  return r;
}

Recipe lucid() {
  Recipe r;
  r.parameterization = "fourier";
  r.transformations = {"pad:pixels=12", "jitter:pixels=8", "scale:low=0.9,high=1.1,count=11",
                       "rotate:degrees=10,count=21,still=5", "jitter:pixels=4"};
  r.optimizer = "adam:rate=0.05";
  r.stages = {recipe_stage(512)};
  return r;
}

/// The same with opacity, on another background in each step. Weights are the notebook's.
Recipe lucid_alpha() {
  Recipe r = lucid();
  r.parameterization = "fourier-alpha";
  r.transformations.insert(r.transformations.begin(), "background:sd=0.5");
  r.regularizers = {{0.1, "blur:of=alpha"}};
  return r;
}

/// Crops of half to a twentieth of the picture, with noise, of a picture whose magnitudes are fixed. Fewer crops than
/// published, for the time they take; our magnitudes.
Recipe maco() {
  Recipe r;
  r.parameterization = "fourier-phase";
  r.transformations = {"crop:low=0.3,high=0.7", "noise:sd=0.08"};
  r.optimizer = "adam:rate=0.3,nesterov=true";
  r.stages = {recipe_stage(128)};
  r.views = 4;
  return r;
}

/// After every step a share of the way to what a denoiser makes of the picture. All numbers are ours.
Recipe denoiser() {
  Recipe r = pixels_in_gray_levels("pixels:mean=0.5,sd=0.04", "ascent:rate=6,rate_end=2", 150);
  r.transformations = {"roll:pixels=8"};
  r.gradient = {kSmoothGradient, "normalize"};
  r.after_step = {"denoise:network=denoiser.onnx,strength=0.2"};
  r.stages = {recipe_stage(150), recipe_stage(150, 1.5), recipe_stage(150, 1.3)};
  return r;
}

/// A generator's code, from a random one. The paper's steps; moves and bounds are ours, in deviations along the
/// principal directions of codes: where every number moves alone, our generator's pictures fall apart.
Recipe nguyen2016() {
  Recipe r;
  r.parameterization = "latent:network=flower_generator.onnx,bound=principal,low=0,deviations=2,decay=0.02";
  r.gradient = {"normalize"};
  r.optimizer = "ascent:rate=0.1,rate_end=0";
  r.stages = {recipe_stage(200)};
  return r;
}

/// Samples: Langevin's dynamics, h + e1 (E(G(h)) - h) + e2 d log p(c | G(h)) / dh + N(0, e3^2), with the exact gradient
/// of the logarithm. The paper's steps; its e fit one network. Ours are in deviations along the principal directions of
/// codes: with `decay` d and noise sqrt(2 d) alone, codes would be distributed as those of pictures.
Recipe nguyen2017() {
  Recipe r;
  r.parameterization = "latent:network=flower_generator.onnx,bound=principal,low=0,deviations=3,decay=0.02,reality=0.1";
  r.optimizer = "ascent:rate=0.1,noise=0.2";
  r.stages = {recipe_stage(200)};
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
  r.stages = {recipe_stage(10), recipe_stage(10, 1.4), recipe_stage(10, 1.4), recipe_stage(10, 1.4)};
  r.carry = "detail";
  r.redirect_until = -1;
  return r;
}

}  // namespace

std::vector<NamedRecipe> visualize_recipes() {
  return {{"erhan2009", "visualize", "A fixed norm, no prior.", kErhan2009, "", 1, erhan2009()},
          {"simonyan2014", "visualize", "Squares of pixels.", kSimonyan2014, "", 1, simonyan2014()},
          {"mahendran2016", "visualize", "Total variation and bounded colors.", kMahendran2016, "", 0.2,
           mahendran2016_maximization()},
          {"yosinski2015", "visualize", "Decay and a blur every few steps.", kYosinski2015, "", 1, yosinski2015()},
          {"oygaard2015", "visualize", "Blur that fades, two sizes.", kOygaard2015, "", 1, oygaard2015()},
          {"tyka2016", "visualize", "A bilateral filter, three sizes.", kTyka2016, "", 1, tyka2016()},
          {"multiscale", "visualize", "Octaves, equal bands of the gradient.", kMordvintsev2015, "", 1, multiscale()},
          {"lucid", "visualize", "Decorrelated spectrum, random transformations.", kOlah2017, "", 1, lucid()},
          {"lucid-alpha", "visualize", "As lucid, but transparent where nothing matters.", kMordvintsev2018, "", 1,
           lucid_alpha()},
          {"maco", "visualize", "Fixed magnitudes of the spectrum, crops.", kFel2023, "", 1, maco()},
          {"denoiser", "visualize", "A denoiser after every step.", kAlain2014, "", 1, denoiser()},
          {"dgn-am", "visualize", "The code of a generator (--generator FILE).", kNguyen2016, "", 1, nguyen2016()},
          {"ppgn", "visualize", "Samples of a generator's codes (--generator FILE).", kNguyen2017, "log-probability", 1,
           nguyen2017()}};
}

std::vector<NamedRecipe> invert_recipes() {
  return {{"invert-mahendran2016", "invert", "Total variation and bounded colors.", kMahendran2016, "match", 100,
           inversion()}};
}

std::vector<NamedRecipe> dream_recipes() {
  return {{"deepdream", "dream", "Octaves of a picture.", kMordvintsev2015, "energy", 1, deepdream()}};
}

}  // namespace pellucid
