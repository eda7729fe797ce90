// `pellucid attack`, and the training of priors, from the command line.

#include "support/cli_fixture.h"

namespace pellucid::test {
namespace {

TEST_F(Cli, AttackWritesPicturesThatItHasReadAgain) {
  const json out = good_json({"attack", kModel, kPicture, "--recipe", "bim", "--epsilon", "16", "-o", "out"});
  const json& p = out.at("pictures").at(0);
  EXPECT_TRUE(p.at("fooled"));
  EXPECT_TRUE(p.at("fools_after_reload"));
  EXPECT_FALSE(p.at("control_fooled"));
  EXPECT_LE(255 * p.at("change_max").get<double>(), 16 + 1e-4);
  EXPECT_EQ(names("out"), (std::set<std::string>{"flower.bim.png", "flower.bim.npy", "sheet.png", "result.json"}));
  EXPECT_EQ(result("out").at("pictures").at(0).at("recipe"), p.at("recipe"));
  // The network has its second thoughts about the file as well.
  const json seen = good_json({"predict", kModel, "out/flower.bim.png", "--top", "1"});
  EXPECT_EQ(seen.at(0).at("classes").at(0).at("index"), p.at("classes").at(0).at("index"));
  const json panda = good_json({"attack", kModel, kPicture, "--panda", "-o", "panda"});
  EXPECT_NEAR(255 * panda.at("pictures").at(0).at("change_max").get<double>(), 1, 1e-4);
}

TEST_F(Cli, AttackRefusesWhatDoesNotGoTogether) {
  bad({"attack", kModel, kPicture, "--panda", "--universal"}, 2,
      "attack: --panda, --curve and --universal exclude one another");
  bad({"attack", kModel, kPicture, "--recipes", "fgsm"}, 2, "attack: --recipes goes with --curve");
  bad({"attack", kModel, kPicture, "--resume"}, 2,
      "attack: --save-every, --animate and --resume are for the other verbs that make pictures");
  bad({"attack", kModel, kPicture, "--curve", "1,x"}, 2, "curve is '1,x'; numbers as 0.5,1,2,4 were expected");
  bad({"attack", kModel, kPicture, "--universal"}, 2, "universal: 1 pictures are not enough; 2 are needed");
}

TEST_F(Cli, TrainsPriors) {
  const json denoiser = good_json({"train-denoiser", "--data", "an8flower-single", "--pictures", "4", "--test-pictures",
                                   "2", "--steps", "0", "--crop", "16", "--widths", "4,8", "-o", "d.onnx"});
  EXPECT_NEAR(denoiser.at("psnr_noisy").get<double>(), 20, 0.5);
  // Untrained it changes nothing.
  EXPECT_NEAR(denoiser.at("psnr_denoised").get<double>(), denoiser.at("psnr_noisy").get<double>(), 1e-4);
  EXPECT_EQ(good_json({"info", "d.onnx", "--size", "16"}).at("card").at("preset"), "none");
  const json generator = good_json({"train-generator", kModel, "--pictures", "6", "--test-pictures", "2", "--steps",
                                    "2", "--batch-size", "2", "--widths", "8,8", "-o", "g.onnx"});
  EXPECT_EQ(generator.at("steps").size(), 1u);
  EXPECT_TRUE(fs::exists(folder.file("g.range.npy")));
  EXPECT_FALSE(fs::exists(folder.file("g.onnx.checkpoint")));
  const json made = good_json({"visualize", kModel, "--target", "0", "--recipe", "dgn-am", "--generator", "g.onnx",
                               "--steps", "3", "-o", "made"});
  EXPECT_EQ(made.at("pictures").at(0).at("recipe").at("name"), "dgn-am");
  bad({"train-denoiser", "-o", "d.txt"}, 2, "train-denoiser: the output 'd.txt' must end in .onnx");
  bad({"train-denoiser", "--crop", "18", "-o", "d.onnx"}, 2, "crop is 18; it must be a multiple of 4, for 3 widths");
  bad({"visualize", kModel, "--target", "0", "--recipe", "dgn-am", "--generator", "no.onnx"}, 2,
      "no network 'no.onnx': it is neither a file nor one of the shipped models");
}

}  // namespace
}  // namespace pellucid::test
