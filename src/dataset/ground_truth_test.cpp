#include "pellucid/ground_truth.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "pellucid/flowers.h"
#include "pellucid/segment.h"
#include "support/expect_error.h"

namespace pellucid {
namespace {

using test::expect_error;

constexpr uint64_t kSeed = 20230801;

GroundTruthRequest request_of(int label, uint64_t index, int size = 64) {
  GroundTruthRequest request;
  request.label = label;
  request.seed = kSeed;
  request.index = index;
  request.size = size;
  return request;
}

GroundTruthRequest without(GroundTruthRequest request, const std::string& part) {
  request.removed_parts.insert(part);
  return request;
}

uint64_t fnv1a(const GroundTruthSample& sample) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  const auto add = [&](const Image& image) {
    for (const uint8_t byte : image.pixels) hash = (hash ^ byte) * 0x100000001b3ULL;
  };
  add(sample.picture);
  add(sample.mask);
  add(sample.part_map);
  for (const GroundTruthPart& part : sample.parts) add(part.coverage);
  for (const GroundTruthObject& object : sample.objects) add(object.mask);
  return hash;
}

const GroundTruthPart& part_of(const GroundTruthSample& sample, const std::string& name) {
  for (const GroundTruthPart& part : sample.parts)
    if (part.name == name) return part;
  throw std::runtime_error("no part " + name);
}

bool same_pixel(const Image& a, const Image& b, int x, int y) {
  return std::equal(a.at(x, y), a.at(x, y) + a.channels, b.at(x, y));
}

TEST(GroundTruth, TableIsWhole) {
  std::vector<std::string> names;
  for (const GroundTruthSet& set : ground_truth_sets()) {
    names.push_back(set.name);
    EXPECT_FALSE(set.summary.empty());
    EXPECT_FALSE(set.source.empty());
    EXPECT_GE(set.classes.size(), 6u);
    EXPECT_EQ(std::set<std::string>(set.classes.begin(), set.classes.end()).size(), set.classes.size());
    EXPECT_EQ(std::set<std::string>(set.parts.begin(), set.parts.end()).size(), set.parts.size());
  }
  EXPECT_EQ(names, (std::vector<std::string>{"an8flower-single", "an8flower-double", "parts", "scenes", "shortcut",
                                             "textures"}));
}

// The bytes are promised to be the same on every machine. Whoever changes the pictures on purpose changes these.
TEST(GroundTruth, BytesStayWhatTheyWere) {
  const std::map<std::string, uint64_t> expected{
      {"an8flower-single", 1213579093747230473ULL}, {"an8flower-double", 4814198934249569370ULL},
      {"parts", 11907253248047257630ULL},           {"scenes", 3915524346395900501ULL},
      {"shortcut", 16420080338690051733ULL},        {"textures", 16462998954375239134ULL}};
  for (const GroundTruthSet& set : ground_truth_sets()) {
    uint64_t all = 0;
    for (int label = 0; label < static_cast<int>(set.classes.size()); ++label) {
      const uint64_t one = fnv1a(draw_sample(set, request_of(label, static_cast<uint64_t>(label) + 3, 48)));
      EXPECT_EQ(one, fnv1a(draw_sample(set, request_of(label, static_cast<uint64_t>(label) + 3, 48))));
      all = all * 31 + one;
    }
    EXPECT_EQ(all, expected.at(set.name)) << set.name;
  }
}

// One truth in several forms: masks, part map, parts, objects.
TEST(GroundTruth, FormsOfTheTruthAgree) {
  for (const GroundTruthSet& set : ground_truth_sets()) {
    for (uint64_t index = 0; index < 8; ++index) {
      const int label = static_cast<int>(index % set.classes.size());
      const GroundTruthSample sample = draw_sample(set, request_of(label, index));
      EXPECT_EQ(sample.label, label);
      ASSERT_EQ(sample.parts.size(), set.parts.size());
      ASSERT_FALSE(sample.objects.empty());
      int wrong = 0, deciding = 0;
      for (size_t i = 0; i < set.parts.size(); ++i) {
        EXPECT_EQ(sample.parts[i].name, set.parts[i]);
        deciding += sample.parts[i].discriminative ? 1 : 0;
      }
      EXPECT_GE(deciding, 1) << set.name;
      for (size_t p = 0; p < sample.mask.pixels.size(); ++p) {
        // A part that covers more than half of a pixel has it on the map. (The watermark lies over the others.)
        int above_half = 0;
        for (size_t i = 0; i < set.parts.size(); ++i) {
          const int least = set.parts[i] == "watermark" ? 128 : 129;
          if (sample.parts[i].coverage.pixels[p] >= least) above_half = static_cast<int>(i) + 1;
        }
        if (above_half != 0 && sample.part_map.pixels[p] != above_half) ++wrong;
        int sum = 0;
        for (const GroundTruthPart& part : sample.parts) sum += part.discriminative ? part.coverage.pixels[p] : 0;
        if (set.name != "scenes" && (sample.mask.pixels[p] == 255) != (sum >= 128)) ++wrong;
      }
      EXPECT_EQ(wrong, 0) << set.name << " " << index;
      for (const GroundTruthObject& object : sample.objects) {
        const Rect inside = bounding_box(object.mask);
        EXPECT_GT(inside.width, 0) << set.name;
        EXPECT_GE(inside.x, object.box.x);
        EXPECT_GE(inside.y, object.box.y);
        EXPECT_LE(inside.x + inside.width, object.box.x + object.box.width);
        EXPECT_LE(inside.y + inside.height, object.box.y + object.box.height);
      }
    }
  }
}

// The heart of deletion: a pixel changes if and only if the part covers some of it. "Only if" is exact: coverage counts
// the very samples that are drawn. "If" cannot be, where what is behind happens to have the same color after rounding:
// of the pixels that the part covers wholly, 95 % change.
TEST(GroundTruth, DeletingAPartChangesItsPixelsAndNoOthers) {
  for (const std::string name : {"parts", "shortcut"}) {
    const GroundTruthSet& set = find_ground_truth_set(name);
    for (const std::string& part : set.parts) {
      if (name == "shortcut" && part != "watermark") continue;  // the shadow of a flower goes with it
      int covered = 0, changed = 0, outside = 0, seen = 0;
      for (uint64_t index = 0; index < 24; ++index) {
        const GroundTruthRequest request = request_of(static_cast<int>(index % set.classes.size()), index, 96);
        const GroundTruthSample whole = draw_sample(set, request);
        const GroundTruthSample less = draw_sample(set, without(request, part));
        const Image& coverage = part_of(whole, part).coverage;
        for (const uint8_t value : part_of(less, part).coverage.pixels) EXPECT_EQ(value, 0);
        for (int y = 0; y < 96; ++y) {
          for (int x = 0; x < 96; ++x) {
            const bool same = same_pixel(whole.picture, less.picture, x, y);
            const int share = *coverage.at(x, y);
            seen += share >= 128 ? 1 : 0;
            if (share == 0 && !same) ++outside;
            if (share == 255) ++covered;
            if (share == 255 && !same) ++changed;
          }
        }
      }
      EXPECT_EQ(outside, 0) << name << ": " << part;
      EXPECT_GT(seen, 24 * 10) << name << ": " << part << " can hardly be seen";
      EXPECT_GT(covered, 0) << name << ": " << part;
      EXPECT_GE(changed, 0.95 * covered) << name << ": " << part;
    }
  }
}

TEST(GroundTruth, DeletedFlowerPartsTakeTheirShadowWithThemAndNothingElse) {
  const GroundTruthSet& set = find_ground_truth_set("an8flower-double");
  for (const std::string& part : set.parts) {
    const GroundTruthRequest request = request_of(7, 5, 96);
    const GroundTruthSample whole = draw_sample(set, request);
    const GroundTruthSample less = draw_sample(set, without(request, part));
    for (int y = 0; y < 96; ++y) {
      for (int x = 0; x < 96; ++x) {
        if (*part_of(whole, part).coverage.at(x, y) > 0 || same_pixel(whole.picture, less.picture, x, y)) continue;
        int plant = 0;
        for (const GroundTruthPart& one : whole.parts) plant += *one.coverage.at(x, y);
        EXPECT_LT(plant, 250) << part << " at " << x << ", " << y;  // some ground shows
        for (int channel = 0; channel < 3; ++channel)
          EXPECT_GE(less.picture.at(x, y)[channel], whole.picture.at(x, y)[channel]);
      }
    }
  }
}

TEST(GroundTruth, ClassesOfBirdsShareOneVariantAtMost) {
  const std::vector<std::string> deciding{"beak", "eye", "wings", "tail", "feet"};
  for (const std::string& part : deciding) {
    std::map<int, int> uses;
    for (int label = 0; label < 16; ++label) ++uses[bird_variant(label, part)];
    EXPECT_EQ(uses, (std::map<int, int>{{0, 4}, {1, 4}, {2, 4}, {3, 4}})) << part;
  }
  for (int a = 0; a < 16; ++a) {
    for (int b = 0; b < a; ++b) {
      int shared = 0;
      for (const std::string& part : deciding) shared += bird_variant(a, part) == bird_variant(b, part) ? 1 : 0;
      EXPECT_LE(shared, 1) << a << " and " << b;
    }
  }
  expect_error(ErrorKind::kUsage,
               "parts: 'crest' has no variant that the class decides; beak, eye, wings, tail and feet have",
               [] { bird_variant(0, "crest"); });
  expect_error(ErrorKind::kUsage, "parts: class 16 does not exist; the classes are 0 to 15",
               [] { bird_variant(16, "beak"); });
}

// Classes at one index differ in their parts alone: a part whose variant they share looks the same, and so do the
// crest, the body, the ground and everything else that is not covered by a part in which they differ.
TEST(GroundTruth, TwinBirdsDifferWhereTheirVariantsDo) {
  const GroundTruthSet& set = find_ground_truth_set("parts");
  for (int a = 0; a < 16; ++a) {
    const int b = (a + 5) % 16;
    const GroundTruthSample first = draw_sample(set, request_of(a, 77)), second = draw_sample(set, request_of(b, 77));
    int wrong = 0, different = 0;
    for (int y = 0; y < 64; ++y) {
      for (int x = 0; x < 64; ++x) {
        int may_differ = 0;
        for (const std::string& part : set.training_drops) {
          if (bird_variant(a, part) == bird_variant(b, part)) continue;
          may_differ += *part_of(first, part).coverage.at(x, y) + *part_of(second, part).coverage.at(x, y);
        }
        const bool same = same_pixel(first.picture, second.picture, x, y);
        if (!same && may_differ == 0) ++wrong;
        if (!same) ++different;
      }
    }
    EXPECT_EQ(wrong, 0) << a << " and " << b;
    EXPECT_GT(different, 100) << a << " and " << b;
  }
}

TEST(GroundTruth, TrainingDropsLeaveTheClassDetermined) {
  const GroundTruthSet& set = find_ground_truth_set("parts");
  int none = 0;
  std::map<size_t, int> counts;
  for (uint64_t index = 0; index < 3000; ++index) {
    const GroundTruthRequest request = with_random_drops(set, request_of(0, index));
    none += request.removed_parts.empty() ? 1 : 0;
    ++counts[request.removed_parts.size()];
    EXPECT_EQ(request.removed_parts.count("crest") + request.removed_parts.count("body"), 0u);
  }
  EXPECT_NEAR(none / 3000.0, 1.0 / 3, 0.03);  // 0.009 is one standard error
  EXPECT_EQ(counts.size(), 4u);
  EXPECT_EQ(counts.rbegin()->first, 3u);
  for (const std::string& p : set.training_drops) {
    for (const std::string& q : set.training_drops) {
      if (p == q) continue;
      std::set<std::pair<int, int>> seen;
      for (int label = 0; label < 16; ++label) seen.insert({bird_variant(label, p), bird_variant(label, q)});
      EXPECT_EQ(seen.size(), 16u) << p << " and " << q << " tell the class";
    }
  }
  EXPECT_TRUE(with_random_drops(find_ground_truth_set("scenes"), request_of(0, 1)).removed_parts.empty());
}

TEST(GroundTruth, FlowerSetIsTheFlowerRenderer) {
  FlowerOptions options;
  options.size = 64;
  const FlowerSample flower = render_flower(FlowerVariant::kDouble12c, 8, kSeed, 4, options);
  const GroundTruthSample sample = draw_sample(find_ground_truth_set("an8flower-double"), request_of(8, 4));
  EXPECT_EQ(sample.picture.pixels, flower.image.pixels);
  EXPECT_EQ(sample.mask.pixels, flower.mask.pixels);
  EXPECT_EQ(sample.part_map.pixels, flower.parts.pixels);
  EXPECT_EQ(part_of(sample, "stem").coverage.pixels, flower.coverage.pixels);
  EXPECT_TRUE(part_of(sample, "stem").discriminative);
  EXPECT_FALSE(part_of(sample, "petals").discriminative);
}

TEST(GroundTruth, SceneHasItsClassTwiceAndTwoOthers) {
  const GroundTruthSet& set = find_ground_truth_set("scenes");
  std::set<std::vector<int>> layouts;
  for (uint64_t index = 0; index < 40; ++index) {
    const int label = static_cast<int>(index % 6);
    const GroundTruthSample scene = draw_sample(set, request_of(label, index));
    ASSERT_EQ(scene.objects.size(), 4u);
    std::map<int, int> counts;
    std::vector<int> layout;
    Image wanted(64, 64, 1);
    for (size_t cell = 0; cell < 4; ++cell) {
      const GroundTruthObject& object = scene.objects[cell];
      ++counts[object.label];
      layout.push_back(object.label);
      const int left = cell % 2 == 0 ? 0 : 32, top = cell < 2 ? 0 : 32;
      EXPECT_GE(object.box.x, left);
      EXPECT_LE(object.box.x + object.box.width, left + 32);
      EXPECT_GE(object.box.y, top);
      EXPECT_LE(object.box.y + object.box.height, top + 32);
      for (size_t i = 0; i < wanted.pixels.size(); ++i)
        if (object.label == label && object.mask.pixels[i]) wanted.pixels[i] = 255;
    }
    EXPECT_EQ(counts[label], 2);
    EXPECT_EQ(counts.size(), 3u);
    EXPECT_EQ(scene.mask.pixels, wanted.pixels);
    layouts.insert(layout);
  }
  EXPECT_GT(layouts.size(), 30u);
}

TEST(GroundTruth, WatermarkTellsTheClassAndTheFlowerHardlyDoes) {
  const GroundTruthSet& set = find_ground_truth_set("shortcut");
  int agreeing = 0;
  const int count = 900;
  for (int i = 0; i < count; ++i) {
    GroundTruthRequest request = request_of(i % 6, static_cast<uint64_t>(i), 16);
    request.supersampling = 1;
    const GroundTruthSample sample = draw_sample(set, request);
    ASSERT_EQ(sample.objects.size(), 2u);
    agreeing += sample.objects[0].label == request.label ? 1 : 0;  // the flower
    EXPECT_EQ(sample.objects[1].label, request.label);             // the stamp
  }
  // A quarter, and a sixth of the rest: 0.375, with a standard error of 0.016.
  EXPECT_NEAR(static_cast<double>(agreeing) / count, 0.375, 0.05);
}

TEST(GroundTruth, PlantedLabelChangesTheWatermarkAlone) {
  const GroundTruthSet& set = find_ground_truth_set("shortcut");
  std::set<std::vector<uint8_t>> stamps;
  for (int planted = 0; planted < 6; ++planted) {
    GroundTruthRequest request = request_of(2, 9, 96);
    const GroundTruthSample own = draw_sample(set, request);
    request.planted_label = planted;
    const GroundTruthSample other = draw_sample(set, request);
    EXPECT_EQ(other.label, 2);
    EXPECT_EQ(other.objects[1].label, planted);
    for (int y = 0; y < 96; ++y) {
      for (int x = 0; x < 96; ++x) {
        if (*part_of(own, "watermark").coverage.at(x, y) || *part_of(other, "watermark").coverage.at(x, y)) continue;
        EXPECT_TRUE(same_pixel(own.picture, other.picture, x, y));
      }
    }
    stamps.insert(other.mask.pixels);
    // Without the stamp the planted class leaves no trace.
    EXPECT_EQ(draw_sample(set, without(request, "watermark")).picture.pixels,
              draw_sample(set, without(request_of(2, 9, 96), "watermark")).picture.pixels);
  }
  EXPECT_EQ(stamps.size(), 6u);
}

TEST(GroundTruth, PermutationIsOne) {
  for (const int64_t count : {0, 1, 2, 300}) {
    std::vector<int64_t> order = permutation(count, 1, 2);
    EXPECT_EQ(order, permutation(count, 1, 2));
    if (count == 300) {
      EXPECT_NE(order, permutation(count, 1, 3));
      EXPECT_NE(order, permutation(count, 2, 2));
      int fixed = 0;
      for (int64_t i = 0; i < count; ++i) fixed += order[static_cast<size_t>(i)] == i ? 1 : 0;
      EXPECT_LT(fixed, 8);  // one is expected, Poisson
    }
    std::sort(order.begin(), order.end());
    for (int64_t i = 0; i < count; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
  }
}

TEST(GroundTruth, WrongRequestsAreRefusedByName) {
  const auto draw = [](const std::string& name, const std::function<void(GroundTruthRequest&)>& change) {
    return [name, change] {
      GroundTruthRequest request;
      change(request);
      draw_sample(find_ground_truth_set(name), request);
    };
  };
  const auto bad = [&](const std::string& message, const std::string& name,
                       const std::function<void(GroundTruthRequest&)>& change) {
    expect_error(ErrorKind::kUsage, message, draw(name, change));
  };
  bad("parts: class 16 does not exist; the classes are 0 to 15", "parts", [](auto& r) { r.label = 16; });
  bad("parts: no part 'nose'; the parts are beak, eye, wings, tail, feet, crest, body", "parts",
      [](auto& r) { r.removed_parts = {"nose"}; });
  bad("parts: planted_label is set, but nothing is planted in this set", "parts", [](auto& r) { r.planted_label = 1; });
  bad("shortcut: class -1 does not exist; the classes are 0 to 5", "shortcut", [](auto& r) { r.planted_label = -1; });
  bad("parts option size is 2000; it must be 16 to 1024", "parts", [](auto& r) { r.size = 2000; });
  bad("parts option supersampling is 0; it must be 1 to 8", "parts", [](auto& r) { r.supersampling = 0; });
  bad("scenes option size is 33; it must be even and 32 to 1024", "scenes", [](auto& r) { r.size = 33; });
  bad("no data set 'bird'; the generated sets are an8flower-single, an8flower-double, parts, scenes, shortcut, "
      "textures",
      "bird", [](auto&) {});
}

// The same draw in another class changes the pattern; without its texture a picture is plain.
TEST(Textures, ArePatternsOfTheirClass) {
  const GroundTruthSet& set = find_ground_truth_set("textures");
  std::set<uint64_t> different;
  for (int label = 0; label < static_cast<int>(set.classes.size()); ++label) {
    const GroundTruthSample sample = draw_sample(set, request_of(label, 4, 48));
    different.insert(fnv1a(sample));
    EXPECT_EQ(*std::min_element(sample.mask.pixels.begin(), sample.mask.pixels.end()), 255);
    const auto [least, most] = std::minmax_element(sample.picture.pixels.begin(), sample.picture.pixels.end());
    EXPECT_GT(*most - *least, 40) << set.classes[static_cast<size_t>(label)];
  }
  EXPECT_EQ(different.size(), set.classes.size());
  GroundTruthRequest plain = without(request_of(3, 4, 48), "texture");
  plain.noise_std = 0;
  const Image blank = draw_sample(set, plain).picture;
  EXPECT_EQ(*std::min_element(blank.pixels.begin(), blank.pixels.end()),
            *std::max_element(blank.pixels.begin(), blank.pixels.end()));
}

// A joined set has the classes of all, and draws what the owner of the class draws.
TEST(JoinedSet, DrawsEachClassAsItsOwnerDoes) {
  const GroundTruthSet joined = joined_set({"textures", "parts"});
  const size_t textures = find_ground_truth_set("textures").classes.size();
  ASSERT_EQ(joined.classes.size(), textures + 16);
  const int label = static_cast<int>(textures) + 5;
  const GroundTruthSample whole = draw_sample(joined, request_of(label, 7, 32));
  const GroundTruthSample own = draw_sample(find_ground_truth_set("parts"), request_of(5, 7, 32));
  EXPECT_EQ(whole.picture.pixels, own.picture.pixels);
  EXPECT_EQ(whole.label, label);
  EXPECT_EQ(joined.classes[static_cast<size_t>(label)], find_ground_truth_set("parts").classes[5]);
  expect_error(ErrorKind::kUsage,
               "no data set 'stones'; the generated sets are an8flower-single, an8flower-double, parts, scenes, "
               "shortcut, textures; did you mean 'scenes'?",
               [] {
                 joined_set({"textures", "stones"});
               });
}

}  // namespace
}  // namespace pellucid
