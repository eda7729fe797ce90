// Runs the real program: every verb, every promised refusal with its exact text and exit status, interruption, full
// disks.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "pellucid/annotations.h"
#include "pellucid/image.h"
#include "pellucid/npy.h"
#include "pellucid/text.h"
#include "support/cli_fixture.h"
#include "support/npy_tensor.h"

namespace pellucid::test {
namespace {

// --- Verbs
// ------------------------------------------------------------------------------------------------------------

TEST_F(Cli, EveryVerbHasHelpThatListsItsFlagsAndFitsATerminal) {
  for (const std::string verb :
       {"explain", "predict", "info", "methods", "dataset", "train", "stylize", "train-style", "completion"}) {
    const std::string help = good({verb, "--help"});
    EXPECT_THAT(help, HasSubstr("Usage: pellucid " + verb)) << help;
    for (const char* flag : {"--help", "--json", "--quiet", "--threads", "--max-memory", "--timeout"}) {
      EXPECT_THAT(help, HasSubstr(flag)) << verb;
    }
  }
  const std::string help = good({"--help"});
  for (const char* verb :
       {"explain", "predict", "info", "methods", "dataset", "train", "stylize", "train-style", "completion"}) {
    EXPECT_THAT(help, HasSubstr(verb));
  }
  EXPECT_THAT(good({"--version"}), ::testing::MatchesRegex("pellucid [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST_F(Cli, WithoutArgumentsItShowsTheHelpAndFails) {
  const ProgramResult r = run({});
  EXPECT_EQ(r.status, 2);
  EXPECT_THAT(r.err, HasSubstr("Usage: pellucid"));
}

TEST_F(Cli, InfoListsLayersWithShapesAndFields) {
  EXPECT_THAT(good({"info", kModel}), HasSubstr("block4.relu"));
  const json info = good_json({"info", kModel});
  EXPECT_EQ(info["cam_layer"], "block4.relu");
  EXPECT_EQ(info["input"]["shape"], (json{1, 3, 128, 128}));
  EXPECT_EQ(info["card"]["labels"], 6);
  int64_t parameters = 0;
  bool found = false;
  for (const json& layer : info["layers"]) {
    for (const char* key :
         {"index", "name", "node", "op", "shape", "receptive_field", "parameters", "flops", "suits_cam"}) {
      EXPECT_TRUE(layer.contains(key)) << key;
    }
    parameters += layer["parameters"].get<int64_t>();
    if (layer["name"] == "block4.relu") {
      found = true;
      EXPECT_EQ(layer["shape"], (json{1, 64, 16, 16}));
      EXPECT_EQ(layer["receptive_field"]["jump_x"], 8);
      EXPECT_TRUE(layer["suits_cam"]);
    }
  }
  EXPECT_TRUE(found);
  EXPECT_EQ(parameters, info["parameters"]);
  const json ops = good_json({"info", "--ops"});
  EXPECT_GT(ops.size(), 100u);
}

// A constant is a layer to the engine but not to a reader; the others keep the indices that --layer takes.
TEST_F(Cli, InfoLeavesConstantsOut) {
  OnnxModel m;
  m.input("x", {-1, 3, 8, 8});
  m.node("Relu", {"x"}, {"before"}, "relu");
  auto* k = m.node("Constant", {}, {"k"}, "k").attribute("value", onnx::AttributeProto::TENSOR)->mutable_t();
  k->set_data_type(onnx::TensorProto::FLOAT);
  k->add_float_data(2);
  m.node("Mul", {"before", "k"}, {"map"}, "mul");
  m.node("GlobalAveragePool", {"map"}, {"pool"}, "gap");
  m.node("Flatten", {"pool"}, {"logits"}, "flatten");
  m.output("logits");
  folder.write("m.onnx", m.bytes());
  const json layers = good_json({"info", "m.onnx"})["layers"];
  Words shown;
  for (const json& layer : layers) shown.push_back(layer["name"].get<std::string>());
  EXPECT_EQ(shown, (Words{"before", "map", "pool", "logits"}));
  const std::string index = "#" + std::to_string(layers[1]["index"].get<int64_t>());
  picture("p.png", 8);
  EXPECT_EQ(good_json({"explain", "m.onnx", "p.png", "-l", index})["pictures"][0]["maps"][0]["layers"], json{"map"});
}

TEST_F(Cli, LabelsOfAnotherModelAreNoted) {
  folder.write("two.txt", "cat\ndog\n");
  const std::string note = "2 labels for 6 classes: they may belong to another model";
  EXPECT_THAT(good({"info", kModel, "--labels", "two.txt"}), HasSubstr("note: " + note + "\n"));
  EXPECT_THAT(good({"predict", kModel, kPicture, "--labels", "two.txt"}), HasSubstr("note: " + note + "\n"));
  const json explained = good_json({"explain", kModel, kPicture, "-o", "o", "--labels", "two.txt"});
  EXPECT_THAT(explained["notes"].get<Words>(), Contains(note));
  EXPECT_THAT(good({"predict", kModel, kPicture}), Not(HasSubstr(" labels for ")));
}

TEST_F(Cli, PredictNamesTheClassThatTheCardLabels) {
  const std::string text = good({"predict", kModel, kPicture});
  EXPECT_THAT(text, HasSubstr("petals-yellow"));
  const json list = good_json({"predict", kModel, kPicture, "--top", "6"});
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0]["classes"].size(), 6u);
  EXPECT_EQ(list[0]["classes"][0]["label"], "petals-yellow");
  EXPECT_EQ(list[0]["notes"], json::array({"card flower_single_6c.json beside the model"}));
  double total = 0;
  for (const json& c : list[0]["classes"]) total += c["probability"].get<double>();
  EXPECT_NEAR(total, 1, 1e-9);
}

TEST_F(Cli, MethodsListsEachWithItsPaperAndParameters) {
  const json list = good_json({"methods"});
  std::set<std::string> ids;
  for (const json& m : list) {
    ids.insert(m["id"].get<std::string>());
    EXPECT_FALSE(m["paper"]["authors"].get<std::string>().empty()) << m["id"];
    EXPECT_FALSE(m["summary"].get<std::string>().empty()) << m["id"];
  }
  for (const char* id : {"gradient", "saliency", "integrated-gradients", "grad-cam", "grad-cam++", "layer-cam"}) {
    EXPECT_TRUE(ids.count(id)) << id;
  }
  const std::string shown = good({"methods", "grad-cam++"});
  EXPECT_THAT(shown, HasSubstr("Chattopadh"));
  EXPECT_THAT(shown, HasSubstr("layer"));
  const json one = good_json({"methods", "integrated-gradients"});
  EXPECT_EQ(one["parameters"][0]["name"], "steps");
  EXPECT_EQ(one["parameters"][0]["default"], "50");
}

TEST_F(Cli, CompletionScriptsAreAcceptedByTheirShells) {
  for (const std::string shell : {"bash", "zsh", "fish"}) {
    const std::string script = folder.write("script", good({"completion", shell}));
    EXPECT_THAT(file_text(script), HasSubstr("xgrad-cam"));
    std::string program;
    for (const char* place : {"/bin/", "/usr/bin/"}) {
      if (fs::exists(place + shell)) program = place + shell;
    }
    if (program.empty()) continue;
    const ProgramResult checked = run_program(program, {shell == "fish" ? "--no-execute" : "-n", script});
    EXPECT_EQ(checked.status, 0) << checked.err;
  }
  // What bash offers after "pellucid expl" and after "--method xgrad".
  const std::string tries =
      good({"completion", "bash"}) +
      "COMP_WORDS=(pellucid expl); COMP_CWORD=1; _pellucid; echo ${COMPREPLY[@]}\n"
      "COMP_WORDS=(pellucid explain --method xgrad); COMP_CWORD=3; _pellucid; echo ${COMPREPLY[@]}\n"
      "COMP_WORDS=(pellucid explain --heatmap-o); COMP_CWORD=2; _pellucid; echo ${COMPREPLY[@]}\n"
      "COMP_WORDS=(pellucid explain --method cam,xgrad); COMP_CWORD=3; _pellucid; echo ${COMPREPLY[@]}\n"
      "COMP_WORDS=(pellucid explain --colormap inf); COMP_CWORD=3; _pellucid; echo ${COMPREPLY[@]}\n"
      "COMP_WORDS=(pellucid metrics iou); COMP_CWORD=2; _pellucid; echo ${COMPREPLY[@]}\n"
      "COMP_WORDS=(pellucid dataset an8flower-s); COMP_CWORD=2; _pellucid; echo ${COMPREPLY[@]}\n"
      "COMP_WORDS=(pellucid explain --normalization min); COMP_CWORD=3; _pellucid; echo ${COMPREPLY[@]}\n"
      "COMP_WORDS=(pellucid explain --segment g); COMP_CWORD=3; _pellucid; echo ${COMPREPLY[@]}\n"
      "COMP_WORDS=(pellucid predict --precision float); COMP_CWORD=3; _pellucid; echo ${COMPREPLY[@]}\n"
      "COMP_WORDS=(pellucid evaluate --suite shortc); COMP_CWORD=3; _pellucid; echo ${COMPREPLY[@]}\n";
  EXPECT_EQ(run_program("/bin/bash", {folder.write("try", tries)}).out,
            "explain\nxgrad-cam\n--heatmap-opacity\ncam,xgrad-cam\ninferno\niou\nan8flower-single\n"
            "min-max\ngrabcut\nfloat32 float64\nshortcut\n");
}

// --- Wrong usage: status 2
// --------------------------------------------------------------------------------------------

TEST_F(Cli, RefusesUnknownVerbsAndFlagsWithTheNearest) {
  bad({"explian"}, 2,
      "no verb 'explian'; the verbs are explain, predict, info, evaluate, axioms, visualize, invert, dream, "
      "texture, style, stylize, attack, recipes, methods, metrics, dataset, train, "
      "train-style, train-denoiser, train-generator, completion; did you mean "
      "'explain'?");
  bad({"explain", kModel, kPicture, "--methdo", "x"}, 2,
      "explain: no flag '--methdo'; did you mean '--method'? (pellucid explain --help)");
  bad({"predict", kModel, kPicture, "--topp=3"}, 2,
      "predict: no flag '--topp'; did you mean '--top'? (pellucid predict --help)");
  bad({"info", kModel, kPicture}, 2, "info: unexpected '" + kPicture + "' (pellucid info --help)");
  bad({"explain", kModel, kPicture, "-m"}, 2, "explain: --method needs a value (pellucid explain --help)");
  bad({"predict", kModel, kPicture, "--top", "2", "--top", "3"}, 2,
      "predict: --top is given more than once (pellucid predict --help)");
  bad({"explain"}, 2, "explain: model is required (pellucid explain --help)");
  bad({"explain", kModel}, 2, "explain: inputs is required (pellucid explain --help)");
  bad({"info"}, 2, "info: a model file is needed (or --ops)");
  bad({"explain", kModel, kPicture, "--colormap", "virids"}, 2,
      "colormap is 'virids'; one of turbo, viridis, magma, inferno, plasma, cividis, jet, gray, coolwarm, rdbu, "
      "seismic, piyg was "
      "expected; did you mean 'viridis'?");
  bad({"completion", "powershell"}, 2, "completion: shell is 'powershell'; bash, zsh or fish was expected");
  bad({"dataset", "mnist", "-o", "x"}, 2,
      "no data set 'mnist'; the generated sets are an8flower-single, an8flower-double, parts, scenes, shortcut, "
      "textures");
  bad({"dataset", "part", "-o", "x"}, 2,
      "no data set 'part'; the generated sets are an8flower-single, an8flower-double, parts, scenes, shortcut, "
      "textures; did you "
      "mean 'parts'?");
  bad({"dataset", "parts", "--swap-watermark", "-o", "x"}, 2,
      "dataset: nothing is planted in parts, so there is nothing to swap");
  bad({"train", "-o", "x.pt"}, 2, "train: the output 'x.pt' must end in .onnx");
  bad({"methods", "gradcam"}, 2,
      "no method 'gradcam'; did you mean 'grad-cam', 'xgrad-cam' or 'cam'? ('pellucid methods' lists all)");
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST_F(Cli, RefusesEveryNumberThatIsNotAPlainDecimalInRange) {
  const Words odd{"nan", "inf", "-inf", "1e400", "0x10", "1,5", "1.5.2", "", " 3", "+3", "3 ", "1_000", "٣"};
  const auto integer = [&](const std::string& flag, const std::string& range, const Words& values) {
    for (const std::string& value : values) {
      bad({"predict", kModel, kPicture, "--" + flag + "=" + value}, 2,
          value.empty() ? "predict: --" + flag + " needs a value (pellucid predict --help)"
                        : flag + " is '" + printable(value) + "'; it must be an integer " + range);
    }
  };
  integer("top", "between 1 and 100000 (default 5)", odd);
  integer("top", "between 1 and 100000 (default 5)", {"0", "-0", "-1", "1000000000", "1e3", "99999999999999999999"});
  integer("batch-size", "between 1 and 65536 (default 8)", {"0", "-1", "1000000000"});
  for (const Words& pair :
       {Words{"threads", "between 0 and 4096 (default 0)", "-1"}, Words{"seed", ">= 0 (default 0)", "-1"},
        Words{"max-pixels", "between 1 and 4294967296 (default 67108864)", "0"},
        Words{"max-memory", "between 0 and 1099511627776 (default 0)", "-1"}}) {
    for (const std::string& value : {std::string("nan"), std::string("1e400"), pair[2]}) {
      bad({"predict", kModel, kPicture, "--" + pair[0] + "=" + value}, 2,
          pair[0] + " is '" + value + "'; it must be an integer " + pair[1]);
    }
  }
  const std::string last = "18446744073709551615";  // 2^64 - 1
  good({"predict", kModel, kPicture, "--seed", last});
  bad({"predict", kModel, kPicture, "--seed", "18446744073709551616"}, 2,
      "seed is '18446744073709551616'; it must be an integer >= 0 (default 0)");
  for (const std::string value : {"nan", "inf", "1e400", "0x1p3", "1,5", "-1", "2e9"}) {
    bad({"predict", kModel, kPicture, "--timeout=" + value}, 2,
        "timeout is '" + value + "'; it must be a number between 0 and 1000000000 (default 0)");
  }
  for (const std::string value : {"nan", "1.0001", "-0.5", "50%"}) {
    bad({"explain", kModel, kPicture, "--heatmap-opacity=" + value}, 2,
        "heatmap-opacity is '" + value + "'; it must be a number between 0 and 1 (default 0.5)");
  }
  for (const std::string value : {"0", "-3", "nan", "10x", "x10", "99999", "1,5"}) {
    bad({"predict", kModel, kPicture, "--size=" + value}, 2,
        "size is '" + value + "'; SIDE or WIDTHxHEIGHT in pixels (1 to 16384) was expected");
  }
  for (const std::string value : {"nan", "0", "-0", "1e400", "0x10", "1,5"}) {
    bad({"explain", kModel, kPicture, "-m", "integrated-gradients", "--steps=" + value}, 2,
        "integrated-gradients: steps is '" + value + "'; it must be an integer between 1 and 100000 (default 50)");
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST_F(Cli, MinusZeroIsZeroWhereZeroIsAllowed) {
  EXPECT_THAT(good({"predict", kModel, kPicture, "--timeout", "-0"}), HasSubstr("petals-yellow"));
}

// A comma as decimal sign, in the locale or not, changes neither what is read nor what is written.
TEST_F(Cli, LocaleDoesNotMatter) {
  ProgramOptions german;
  german.in_child = [] {
    ::setenv("LC_ALL", "de_DE.UTF-8", 1);
    ::setenv("LANG", "de_DE.UTF-8", 1);
  };
  EXPECT_EQ(good({"predict", kModel, kPicture, "--json"}, german), good({"predict", kModel, kPicture, "--json"}));
  good({"explain", kModel, kPicture, "-o", "o", "--heatmap-opacity", "0.25"}, german);
  EXPECT_EQ(result("o")["picture"]["heatmap_opacity"], 0.25);
}

TEST_F(Cli, RefusesWishesThatTheModelCannotFulfil) {
  const Words start{"explain", kModel, kPicture, "-o", "o"};
  const auto with = [&](const Words& more) {
    Words all = start;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  bad(with({"-t", "99"}), 2, "target: class 99 does not exist; the model has classes 0 to 5");
  bad(with({"-t", "rose"}), 2, "target: no class 'rose'");
  bad(with({"-l", "blok4.relu"}), 2,
      "flower_single_6c.onnx: no layer 'blok4.relu'; did you mean 'block4.relu', 'block1.relu' or 'block2.relu'? "
      "('pellucid info' "
      "lists all 38)");
  bad(with({"-m", "grad-cam:stepz=3"}), 2, "grad-cam: no parameter 'stepz' (it takes smooth, fusion, align)");
  bad(with({"-m", "grad-cam", "--steps", "10"}), 2, "none of the chosen methods takes --steps");
  bad(with({"-t", "similarity"}), 2, "target 'similarity' needs a reference picture");
  bad(with({"--device", "tpu"}), 2, "device is 'tpu'; cpu, cuda or cuda:N was expected");
  bad(with({"--precision", "fp8"}), 2, "precision is 'fp8'; one of float32, float64, bf16 was expected");
  bad(with({"--preset", "imagenett"}), 2,
      "preset is 'imagenett'; one of imagenet, imagenet-tf, caffe, cifar10, mnist, flower, none was expected; did you "
      "mean "
      "'imagenet' or 'imagenet-tf'?");
}

TEST_F(Cli, DoubleDashEndsTheFlags) {
  picture("-flower.png");
  EXPECT_THAT(good({"predict", kModel, "--", "-flower.png"}), HasSubstr("-flower.png"));
  picture("@file");
  EXPECT_THAT(good({"predict", kModel, "@file"}), HasSubstr("@file"));
  good({"explain", kModel, "-o", "o", "--", "-flower.png"});
  for (const std::string& name : names("o")) EXPECT_NE(name[0], '-');
}

// --- Unreadable input: status 3
// ----------------------------------------------------------------------------------------

TEST_F(Cli, RefusesModelsThatAreNone) {
  bad({"info", "none.onnx"}, 3, "none.onnx: cannot be opened: No such file or directory");
  fs::create_directory(folder.file("folder"));
  bad({"info", "folder"}, 3, "folder: is not a regular file");
  ASSERT_EQ(::mkfifo(folder.file("pipe").c_str(), 0600), 0);
  bad({"info", "pipe"}, 3, "pipe: is not a regular file");
  bad({"info", "/dev/zero"}, 3, "/dev/zero: is not a regular file");
  folder.write("empty.onnx", "");
  bad({"info", "empty.onnx"}, 3, "empty.onnx: the file is empty; an ONNX model was expected");
  fs::copy(kPicture, folder.file("picture.onnx"));
  bad({"info", "picture.onnx"}, 3, "picture.onnx: not an ONNX model: the file is damaged or of another format");
  const std::string whole = file_text(kModel);
  folder.write("half.onnx", whole.substr(0, whole.size() / 2));
  bad({"explain", "half.onnx", kPicture}, 3, "half.onnx: not an ONNX model: the file is damaged or of another format");
  EXPECT_FALSE(fs::exists(folder.file("explanations")));
}

TEST_F(Cli, RefusesPicturesThatAreNone) {
  const auto refused = [&](const std::string& name, const std::string& reason) {
    bad({"predict", kModel, name}, 3, name + ": " + reason);
    bad({"explain", kModel, name, "-o", "o"}, 3, name + ": " + reason);
    EXPECT_FALSE(fs::exists(folder.file("o/result.json")));
  };
  const std::string formats = "not a picture in an accepted format; accepted are PNG, JPEG, BMP, GIF, WebP, TIFF, PNM";
  refused("none.png", "no such file or folder");
  refused("none*.png", "no file fits");
  folder.write("text.png", "hello\n");
  refused("text.png", formats);
  folder.write("empty.png", "");
  refused("empty.png", "the file is empty");
  folder.write("drawing.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>");
  refused("drawing.svg", formats);
  const std::string whole = file_text(kPicture);
  folder.write("cut.png", whole.substr(0, whole.size() / 2));
  refused("cut.png", "PNG: the file ends early");
  fs::create_directory(folder.file("folder"));
  refused("folder", "the folder holds no pictures (PNG, JPEG, BMP, GIF, WebP, TIFF, PNM), videos or .npy files");
  ASSERT_EQ(::mkfifo(folder.file("pipe.png").c_str(), 0600), 0);
  refused("pipe.png", "is not a regular file");
  // 65535 x 65535 RGB pixels in 69 bytes, all checksums right.
  folder.write("huge.png",
               "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xff\xff\0\0\xff\xff\x08\x02\0\0\0\x39\x67\x4e\x07"
               "\0\0\0\x08IDATx\x9c\x03\0\0\0\0\x01\x48\x06\x89\xd2\0\0\0\0IEND\xae\x42\x60\x82"s);
  refused("huge.png", "PNG: 65535x65535 pixels; 1 to 67108864 pixels are accepted");
  bad({"predict", kModel, kPicture, "--max-pixels", "10"}, 3,
      kPicture + ": PNG: 256x256 pixels; 1 to 10 pixels are accepted");
}

TEST_F(Cli, ExtremeShapesOfPicturesWork) {
  save_png(folder.file("dot.png"), Image(1, 1, 3, 7));
  save_png(folder.file("thread.png"), Image(1, 100000, 3, 7));
  good({"explain", kModel, "dot.png", "thread.png", "-o", "o"});
  const Image dot = decode_image(folder.file("o/dot.grad-cam.png"));
  EXPECT_EQ(dot.width, 1);
  EXPECT_EQ(dot.height, 1);
  const Image thread = decode_image(folder.file("o/thread.grad-cam.png"));
  EXPECT_EQ(thread.width, 1);
  EXPECT_EQ(thread.height, 100000);
}

TEST_F(Cli, RefusesArraysThatAreNoInput) {
  const auto write = [&](const std::string& name, const std::vector<int64_t>& shape, float value) {
    int64_t count = 1;
    for (const int64_t n : shape) count *= n;
    write_npy(folder.file(name), std::vector<float>(static_cast<size_t>(count), value).data(), shape);
  };
  write("nan.npy", {3, 16, 16}, std::nanf(""));
  bad({"predict", kModel, "nan.npy"}, 3, "nan.npy: holds numbers that are not finite");
  write("two.npy", {2, 16, 16}, 0);
  bad({"predict", kModel, "two.npy"}, 3, "two.npy: holds [2,16,16]; [C,H,W] or [N,C,H,W] with 3 channels was expected");
  write("flat.npy", {16, 16}, 0);
  bad({"predict", kModel, "flat.npy"}, 3, "flat.npy: holds [16,16]; [C,H,W] or [N,C,H,W] with 3 channels was expected");
  write("none.npy", {0, 3, 16, 16}, 0);
  bad({"predict", kModel, "none.npy"}, 3,
      "none.npy: holds [0,3,16,16]; [C,H,W] or [N,C,H,W] with 3 channels was expected");
  std::string header = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }";
  header += std::string(128 - 10 - 1 - header.size(), ' ') + "\n";
  folder.write("object.npy",
               std::string("\x93NUMPY\x01\0", 8) + static_cast<char>(header.size()) + '\0' + header + "cos\nsystem\n");
  bad({"predict", kModel, "object.npy"}, 3,
      "object.npy: elements are '|O'; accepted are float16, float32, float64, int8, int16, int32, int64, uint8, "
      "uint16, uint32, "
      "uint64, bool");
}

TEST_F(Cli, OneUnreadablePictureDoesNotStopTheOthers) {
  picture("in/a.png");
  folder.write("in/b.png", "not a picture");
  picture("in/c.png");
  picture("in/c.bmp");  // PNG bytes: the format is told by the bytes
  const std::string line =
      "pellucid: in/b.png: not a picture in an accepted format; accepted are PNG, JPEG, BMP, GIF, WebP, TIFF, PNM\n";
  const ProgramResult r = run({"explain", kModel, "in", "-o", "o"});
  EXPECT_EQ(r.status, 3);
  EXPECT_EQ(r.err, line);
  const json summary = result("o");
  ASSERT_EQ(summary["pictures"].size(), 4u);
  std::set<std::string> files;
  size_t maps = 0, errors = 0;
  for (const json& p : summary["pictures"]) {
    errors += p.contains("error");
    if (p.contains("error")) {
      EXPECT_EQ(p["path"], "in/b.png");
      continue;
    }
    for (const json& m : p["maps"]) {
      ++maps;
      for (const char* key : {"overlay", "values", "input_map"}) {
        const auto file = m[key].get<std::string>();
        EXPECT_TRUE(files.insert(file).second) << file << " is written twice";
        EXPECT_TRUE(fs::exists(folder.file("o/" + file)));
      }
    }
  }
  EXPECT_EQ(errors, 1u);
  EXPECT_EQ(maps, 3u);
  const ProgramResult p = run({"predict", kModel, "in", "--json"});
  EXPECT_EQ(p.status, 3);
  EXPECT_EQ(p.err, line);
  EXPECT_EQ(json::parse(p.out).size(), 4u);
}

TEST_F(Cli, RefusesBrokenCards) {
  const auto refused = [&](const std::string& file, const std::string& reason) {
    bad({"explain", kModel, kPicture, "--card", file}, 3, file + ": " + reason);
  };
  refused("none.json", "cannot open: No such file or directory");
  folder.write("broken.json", "{\"width\": 3");
  refused("broken.json",
          "not JSON: parse error at line 1, column 12: syntax error while parsing object - unexpected end of input; "
          "expected '}'");
  folder.write("list.json", "[1]");
  refused("list.json", "a JSON object was expected");
  folder.write("deep.json", std::string(100000, '['));
  refused("deep.json", "not a card: nested too deeply");
  folder.write("twice.json", R"({"scale": 1, "width": 64, "scale": 0.5})");
  refused("twice.json", "not a card: field 'scale' is given twice");
  folder.write("number.json", "{\"scale\": 1e999}");
  refused("number.json", "not JSON: number overflow parsing '1e999'");
  refused(card("unknown.json", {{"widht", 3}}),
          "unknown field 'widht'; did you mean 'width'? (fields are channel_order, channels_first, default_layer, "
          "height, labels, mean, "
          "preset, resize, resize_to, scale, std, width)");
  refused(card("type.json", {{"width", "128"}}), "'width' must be an integer between 0 and 16384");
  refused(card("size.json", {{"width", 1000000}}), "'width' must be an integer between 0 and 16384");
  refused(card("order.json", {{"channel_order", "rbg"}}),
          "'channel_order' is 'rbg'; one of rgb, bgr, gray was expected");
  refused(card("std.json", {{"std", {0, 1, 1}}}), "card: std is 0; it must be positive");
  refused(card("two.json", {{"mean", {0, 0}}}), "card: mean has 2 numbers; 3 channels need as many");
  refused(card("scale.json", {{"scale", -1}}), "card: scale must be positive");
  refused(card("outside.json", {{"labels", "../labels.txt"}}),
          "'labels' must be a list, or the name of a file beside the card");
  refused(card("absolute.json", {{"labels", "/etc/passwd"}}),
          "'labels' must be a list, or the name of a file beside the card");
  refused(card("preset.json", {{"preset", "imagenat"}}),
          "preset is 'imagenat'; imagenet, imagenet-tf, caffe, cifar10, mnist, flower, none are known; did you mean "
          "'imagenet'?");
  EXPECT_FALSE(fs::exists(folder.file("explanations")));
}

TEST_F(Cli, CardLabelsMayLieInAFileBesideTheCard) {
  folder.write("sub/names.txt", "zero\none\ntwo\nthree\nfour\nfive\n");
  json c = json::parse(file_text(kCard));
  c["labels"] = "names.txt";
  folder.write("sub/card.json", c.dump());
  EXPECT_EQ(good_json({"predict", kModel, kPicture, "--card", "sub/card.json"})[0]["classes"][0]["label"], "one");
  EXPECT_EQ(good_json({"predict", kModel, kPicture, "--labels", "sub/names.txt"})[0]["classes"][0]["label"], "one");
}

// --- Unsupported: status 4
// ----------------------------------------------------------------------------------------------

TEST_F(Cli, UnsupportedOperatorsAreListedAllAtOnce) {
  OnnxModel m;
  m.input("x", {1, 3, 8, 8});
  m.node("GridSample", {"x", "x"}, {"a"}, "warp");
  m.node("Relu", {"a"}, {"b"}, "relu");
  m.node("Fancy", {"b"}, {"y"}, "odd").domain("com.acme");
  m.import("com.acme", 1).output("y");
  folder.write("m.onnx", m.bytes());
  const ProgramResult r = run({"explain", "m.onnx", kPicture});
  EXPECT_EQ(r.status, 4);
  EXPECT_THAT(r.err, HasSubstr("GridSample"));
  EXPECT_THAT(r.err, HasSubstr("Fancy"));
  EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 1);
}

// --- Failures while running: status 5
// -------------------------------------------------------------------------------------

TEST_F(Cli, OutputThatCannotBeWrittenFailsInOneLine) {
  folder.write("file", "x");
  bad({"explain", kModel, kPicture, "-o", "file"}, 5, "file: cannot create the folder: a file of that name exists");
  bad({"explain", kModel, kPicture, "-o", "file/sub"}, 5, "file/sub: cannot create the folder: Not a directory");
  EXPECT_EQ(file_text(folder.file("file")), "x");
  fs::create_directory(folder.file("locked"));
  fs::permissions(folder.file("locked"), fs::perms::owner_read | fs::perms::owner_exec);
  ProgramOptions plain;
  // Root writes anywhere unless it gives up that power first.
  plain.in_child = [] { ::prctl(PR_CAPBSET_DROP, 1 /* CAP_DAC_OVERRIDE */); };
  bad({"explain", kModel, kPicture, "-o", "locked"}, 5, "locked/flower.grad-cam.png: cannot write: Permission denied",
      plain);
  bad({"explain", kModel, kPicture, "-o", "locked/sub"}, 5, "locked/sub: cannot create the folder: Permission denied",
      plain);
  fs::permissions(folder.file("locked"), fs::perms::owner_all);
  EXPECT_TRUE(fs::is_empty(folder.file("locked")));
}

TEST_F(Cli, FullDiskLeavesNothingBehind) {
  ProgramOptions small;
  small.in_child = [] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{20000, 20000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  };
  bad({"explain", kModel, kPicture, "-o", "o"}, 5, "o/flower.grad-cam.png: cannot write: File too large", small);
  EXPECT_TRUE(fs::is_empty(folder.file("o")));
}

TEST_F(Cli, MemoryLimitIsKept) {
  const ProgramResult r = run({"predict", kModel, kPicture, "--max-memory", "1"});
  EXPECT_EQ(r.status, 5);
  EXPECT_THAT(r.err, ::testing::MatchesRegex(
                         "pellucid: out of memory: a tensor of [0-9.]+ MiB beside [0-9.]+ MiB in use exceeds the "
                         "limit of 1 MiB \\(--max-memory\\)\n"));
}

// A slip of the pen must not cost the summary of the run before.
TEST_F(Cli, WhatIsRefusedLeavesTheEarlierResult) {
  good({"explain", kModel, kPicture, "-o", "o", "-q"});
  const std::string before = file_text(folder.file("o/result.json"));
  for (const std::vector<std::string>& slip :
       {std::vector<std::string>{"--layer", "nowhere"}, {"--target", "nobody"}, {"--target", "unit:input:9,9,9"}}) {
    std::vector<std::string> args{"explain", kModel, kPicture, "-o", "o", "-q"};
    args.insert(args.end(), slip.begin(), slip.end());
    EXPECT_EQ(run(args).status, 2);
    EXPECT_EQ(file_text(folder.file("o/result.json")), before) << slip.back();
  }
}

TEST_F(Cli, NumbersThatAreNotFiniteReachNoFile) {
  OnnxModel m = small_model();
  m.graph().mutable_initializer(0)->set_float_data(0, std::nanf(""));
  folder.write("m.onnx", m.bytes());
  picture("p.png", 8);
  bad({"explain", "m.onnx", "p.png", "-o", "o"}, 5,
      "m.onnx: the network's scores are not finite; the first value that is not finite is 'c' (Conv 'conv'), whose "
      "weight 'w' holds NaN or infinity");
  EXPECT_FALSE(fs::exists(folder.file("o/p.grad-cam.npy")));
  EXPECT_FALSE(fs::exists(folder.file("o/result.json")));
}

TEST_F(Cli, StdoutThatCannotBeWrittenFails) {
  ProgramOptions closed;
  closed.in_child = [] { ::close(STDOUT_FILENO); };
  bad({"predict", kModel, kPicture}, 5, "stdout: cannot be written", closed);
  // Nothing printed may end up in a file that took the descriptor.
  const ProgramResult r = run({"explain", kModel, kPicture, "-o", "o"}, closed);
  EXPECT_EQ(r.status, 5);
  EXPECT_EQ(result("o")["verb"], "explain");
  ProgramOptions full;
  full.in_child = [] { ::dup2(::open("/dev/full", O_WRONLY), STDOUT_FILENO); };
  bad({"predict", kModel, kPicture}, 5, "stdout: cannot be written", full);
}

TEST_F(Cli, NeedsNoHome) {
  ProgramOptions homeless;
  homeless.in_child = [] {
    ::setenv("HOME", "/nonexistent", 1);
    ::setenv("TMPDIR", "/nonexistent", 1);
  };
  good({"explain", kModel, kPicture, "-o", "o"}, homeless);
}

TEST_F(Cli, OutputFolderMayBeALink) {
  fs::create_directory(folder.file("real"));
  fs::create_directory_symlink("real", folder.file("link"));
  good({"explain", kModel, kPicture, "-o", "link"});
  EXPECT_TRUE(fs::is_symlink(folder.file("link")));
  EXPECT_TRUE(fs::exists(folder.file("real/result.json")));
}

// --- Interruption: status 130
// -----------------------------------------------------------------------------------------------

TEST_F(Cli, TimeLimitStopsTheRun) {
  bad({"predict", kModel, kPicture, "--timeout", "0.001"}, 130, "the time limit has passed");
  bad({"explain", kModel, kPicture, "-o", "o", "--timeout", "0.001"}, 130, "the time limit has passed");
  EXPECT_FALSE(fs::exists(folder.file("o/result.json")));
}

/// Every file under a final name is whole: pictures decode and arrays parse.
void expect_whole_files(const std::string& path) {
  for (const auto& entry : fs::directory_iterator(path)) {
    const std::string name = entry.path().filename().string();
    if (name[0] == '.') continue;
    if (entry.path().extension() == ".png") {
      EXPECT_NO_THROW(decode_image(entry.path().string())) << name;
    } else {
      EXPECT_NO_THROW(read_npy(entry.path().string())) << name;
    }
  }
}

TEST_F(Cli, SignalsStopTheRunWithoutHalfWrittenResults) {
  for (int i = 0; i < 40; ++i) picture("in/" + std::to_string(i) + ".png", 128, i);
  good({"explain", kModel, "in/0.png", "-o", "o"});
  for (const int signal : {SIGINT, SIGTERM, SIGKILL}) {
    // An earlier run's files must not make this one look complete.
    ProgramOptions options;
    const size_t before = names("o").size();
    options.watch = [&](pid_t child) {
      if (names("o").size() < before + 8) return true;
      ::kill(child, signal);
      return false;
    };
    const ProgramResult r =
        run({"explain", kModel, "in", "-o", "o", "-m", "grad-cam,gradient", "--batch-size", "1"}, options);
    if (signal == SIGKILL) {
      EXPECT_EQ(r.signal, SIGKILL);
    } else {
      EXPECT_EQ(r.status, 130);
      EXPECT_EQ(r.err, "pellucid: interrupted\n");
      for (const std::string& name : names("o")) EXPECT_NE(name[0], '.') << name;
    }
    EXPECT_FALSE(fs::exists(folder.file("o/result.json")));
    expect_whole_files(folder.file("o"));
    fs::remove_all(folder.file("o"));
    fs::create_directory(folder.file("o"));
  }
}

// --- Behaviour
// -----------------------------------------------------------------------------------------------------------

TEST_F(Cli, ExplainNeedsOnlyAModelAndAPictureAndSaysWhatItChose) {
  fs::copy(kPicture, folder.file("flower.png"));
  const std::string text = good({"explain", kModel, "flower.png"});
  EXPECT_THAT(text, HasSubstr("note: card flower_single_6c.json beside the model\n"));
  EXPECT_THAT(text, HasSubstr("note: layer block4.relu [64,16,16]: the card's default layer\n"));
  EXPECT_THAT(text, HasSubstr("written to explanations/result.json\n"));
  const Image overlay = decode_image(folder.file("explanations/flower.grad-cam.png"));
  EXPECT_EQ(overlay.width, 256);
  EXPECT_EQ(overlay.height, 256);
  const NpyArray raw = read_npy(folder.file("explanations/flower.grad-cam.npy"));
  EXPECT_EQ(raw.type, NpyType::kFloat32);
  EXPECT_EQ(raw.shape, (std::vector<int64_t>{16, 16}));
  EXPECT_EQ(read_npy(folder.file("explanations/flower.grad-cam.input.npy")).shape, (std::vector<int64_t>{128, 128}));
  const json r = result("explanations");
  for (const char* key :
       {"pellucid", "model", "card", "methods", "layers", "targets", "seed", "device", "precision", "picture"}) {
    EXPECT_TRUE(r.contains(key)) << key;
  }
  EXPECT_EQ(r["model"]["sha256"].get<std::string>().size(), 64u);
  EXPECT_EQ(r["pictures"][0]["maps"][0]["method"], "grad-cam:smooth=none,fusion=mean,align=half-pixel");
  EXPECT_EQ(good({"explain", kModel, "flower.png", "-q"}).find("note:"), std::string::npos);
}

TEST_F(Cli, JsonOnStdoutIsWhatResultJsonHolds) {
  const json printed = good_json({"explain", kModel, kPicture, "-o", "o"});
  EXPECT_EQ(printed, result("o"));
}

TEST_F(Cli, ParametersReachTheMethodFromItsStringAndFromFlags) {
  good({"explain", kModel, kPicture, "-o", "a", "-m", "integrated-gradients:steps=7,baseline=blur:3,grad-cam"});
  good({"explain", kModel, kPicture, "-o", "b", "-m", "integrated-gradients:baseline=blur:3,grad-cam", "--steps", "7"});
  const json a = result("a")["pictures"][0]["maps"], b = result("b")["pictures"][0]["maps"];
  ASSERT_EQ(a.size(), 2u);
  EXPECT_THAT(a[0]["method"].get<std::string>(), HasSubstr("steps=7"));
  EXPECT_THAT(a[0]["method"].get<std::string>(), HasSubstr("baseline=blur:3"));
  EXPECT_EQ(a[0]["method"], b[0]["method"]);
  EXPECT_EQ(file_text(folder.file("a/" + a[0]["values"].get<std::string>())),
            file_text(folder.file("b/" + b[0]["values"].get<std::string>())));
}

TEST_F(Cli, SameCommandGivesTheSameBytes) {
  const Words methods{"-m", "grad-cam,smoothgrad:samples=4,integrated-gradients:steps=4,baseline=noise:3", "--seed",
                      "5"};
  for (const std::string output : {"a", "b"}) {
    Words all{"explain", kModel, kPicture, "-o", output};
    all.insert(all.end(), methods.begin(), methods.end());
    good(all);
  }
  EXPECT_EQ(names("a"), names("b"));
  for (const std::string& name : names("a")) {
    if (name == "result.json") continue;
    EXPECT_EQ(file_text(folder.file("a/" + name)), file_text(folder.file("b/" + name))) << name;
  }
  good({"explain", kModel, kPicture, "-o", "c", "-m", "smoothgrad:samples=4", "--seed", "6"});
  EXPECT_NE(file_text(folder.file("a/flower.smoothgrad_samples_4.npy")),
            file_text(folder.file("c/flower.smoothgrad_samples_4.npy")));
}

double largest_difference(const std::string& a, const std::string& b) {
  const Tensor x = load_npy(a), y = load_npy(b);
  return (x - y).abs().max().item<double>() / std::max(1e-12, x.abs().max().item<double>());
}

TEST_F(Cli, BatchSizeDoesNotMatter) {
  for (int i = 0; i < 9; ++i) picture("in/" + std::to_string(i) + ".png", 64 + i, 30 * i);
  for (const std::string size : {"1", "8"}) {
    good({"explain", kModel, "in", "-o", size, "--batch-size", size, "-m", "grad-cam,gradient,smoothgrad:samples=3"});
  }
  EXPECT_EQ(names("1"), names("8"));
  for (const std::string& name : names("1")) {
    if (fs::path(name).extension() != ".npy") continue;
    // 1e-5 of the largest value: float32 sums in another order.
    EXPECT_LT(largest_difference(folder.file("1/" + name), folder.file("8/" + name)), 1e-5) << name;
  }
}

// (p / 255 - 0.5) / 0.25 is what the card says; a picture of the input's size is not resized.
TEST_F(Cli, PreprocessedArrayGivesWhatItsPictureGives) {
  const Image image = gradient_picture(128, 128);
  save_png(folder.file("photo.png"), image);
  std::vector<float> numbers;
  for (int c = 0; c < 3; ++c) {
    for (int y = 0; y < 128; ++y) {
      for (int x = 0; x < 128; ++x) numbers.push_back((static_cast<float>(image.at(x, y)[c]) / 255.0f - 0.5f) / 0.25f);
    }
  }
  write_npy(folder.file("array.npy"), numbers.data(), {3, 128, 128});
  good({"explain", kModel, "photo.png", "array.npy", "-o", "o", "--batch-size", "1"});
  EXPECT_LT(largest_difference(folder.file("o/photo.grad-cam.npy"), folder.file("o/array.grad-cam.npy")), 1e-5);
  const Image shown = decode_image(folder.file("o/array.grad-cam.png"));
  EXPECT_EQ(shown.width, 128);
  std::vector<float> pair = numbers;
  pair.insert(pair.end(), numbers.begin(), numbers.end());
  write_npy(folder.file("pair.npy"), pair.data(), {2, 3, 128, 128});
  good({"explain", kModel, "pair.npy", "-o", "p"});
  for (const std::string name : {"pair.0", "pair.1"}) {
    EXPECT_LT(largest_difference(folder.file("o/photo.grad-cam.npy"), folder.file("p/" + name + ".grad-cam.npy")),
              1e-5);
  }
}

// Class 0 of the small model is relu(w0.x) - relu(w1.x): channel weights 1 and -1, so Grad-CAM is their difference
// divided by the number of pixels (the gradient of the mean), with signs and unscaled.
TEST_F(Cli, ArraysAreRawNumbersWithSigns) {
  folder.write("m.onnx", small_model().bytes());
  const std::vector<float> input{/*red*/ 1, 2, 0, 4, /*green*/ 0, 1, 0, -8, /*blue*/ 3, 0, 0, 1};
  write_npy(folder.file("x.npy"), input.data(), {3, 2, 2});
  good({"explain", "m.onnx", "x.npy", "-o", "o", "-t", "0", "-m", "hires-cam,gradient"});
  const Tensor x = at::tensor(std::vector<double>(input.begin(), input.end()), at::kDouble).view({3, 2, 2});
  const Tensor first = at::relu(x[0] * 0.5 + x[1] * 0.4 + x[2] * 0.3), second = at::relu(x[0] * 0.2 + x[1] * 0.1);
  const Tensor expected = (first - second) / 4;
  EXPECT_LT((load_npy(folder.file("o/x.hires-cam.npy")) - expected).abs().max().item<double>(), 1e-6);
  const json map = result("o")["pictures"][0]["maps"][0];
  EXPECT_NEAR(map["score"].get<double>(), expected.sum().item<double>(), 1e-6);
}

TEST_F(Cli, NamesFromCardsAndModelsStayInsideTheOutputFolder) {
  folder.write("m.onnx", small_model("../../up:map").bytes());
  const std::string long_label(300, 'x');
  const json labels{"../../evil", "<script>alert(1)</script>\x1b[31m"};
  const json long_labels{long_label, "a:b"};
  folder.write("evil.json", json{{"labels", labels}, {"mean", {0, 0, 0}}, {"std", {1, 1, 1}}}.dump());
  folder.write("long.json", json{{"labels", long_labels}, {"mean", {0, 0, 0}}, {"std", {1, 1, 1}}}.dump());
  picture("sub/p.png");
  const auto before = names(".");
  good({"explain", "m.onnx", "sub/p.png", "--card", "evil.json", "-o", "sub/o", "--report", "-t", "../../evil", "-t",
        "1", "-t", "<script>alert(1)</script>?[31m", "-l", "../../up:map", "-l", "c"});
  good({"explain", "m.onnx", "sub/p.png", "--card", "long.json", "-o", "sub/l", "-t", long_label, "-t", "a:b"});
  EXPECT_EQ(names("."), before);
  EXPECT_EQ(names("sub"), (std::set<std::string>{"l", "o", "p.png"}));
  for (const char* sub : {"sub/o", "sub/l"}) {
    for (const std::string& name : names(sub)) {
      EXPECT_LE(name.size(), 255u);
      EXPECT_EQ(name.find_first_of(":<>()/\\"), std::string::npos) << name;
    }
  }
  const std::string html = file_text(folder.file("sub/o/report.html"));
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt;"));
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, Not(HasSubstr("\x1b")));
}

TEST_F(Cli, LayersWhoseSafeNamesAreEqualAreWrittenApart) {
  folder.write("m.onnx", small_model("a/b", 3, "a:b").bytes());
  picture("p.png", 8);
  good({"explain", "m.onnx", "p.png", "-o", "o", "-l", "a/b", "-l", "a:b"});
  EXPECT_TRUE(names("o").count("p.grad-cam.a_b.npy"));
  EXPECT_TRUE(names("o").count("p.grad-cam.a_b-2.npy"));
}

TEST_F(Cli, FileNamesNeedNotBeUtf8) {
  picture("bad\xff.png");
  good({"explain", kModel, "bad\xff.png", "-o", "o", "--report"});
  EXPECT_TRUE(fs::exists(folder.file("o/result.json")));
  EXPECT_EQ(result("o")["pictures"].size(), 1u);
}

TEST_F(Cli, SeveralTargetsAndFusedLayersAreWrittenApart) {
  good({"explain", kModel, kPicture, "-o", "o", "-t", "top1", "-t", "petals-red", "-t", "petals-red vs petals-blue",
        "-l", "block*.relu", "-m", "layer-cam,grad-cam"});
  const json maps = result("o")["pictures"][0]["maps"];
  ASSERT_EQ(maps.size(), 6u);
  std::set<std::string> files;
  for (const json& m : maps) {
    files.insert(m["values"].get<std::string>());
    EXPECT_THAT(m["layers"].get<std::vector<std::string>>(), Contains("block4.relu"));
    EXPECT_GE(m["layers"].size(), 4u);
  }
  EXPECT_EQ(files.size(), 6u);
  EXPECT_EQ(maps[0]["target"], "petals-yellow");
}

TEST_F(Cli, MasksAreScored) {
  const json one = good_json({"explain", kModel, kPicture, "-o", "o", "--mask", kMask});
  EXPECT_EQ(one["mask"], kMask);
  const json& l = one["pictures"][0]["maps"][0]["localization"];
  for (const char* key : {"iou_half", "iou_best", "mass", "rank"}) {
    EXPECT_GT(l[key].get<double>(), 0.2) << key;  // the shipped example is one that works
    EXPECT_LE(l[key].get<double>(), 1) << key;
  }
  save_png(folder.file("small.png"), Image(9, 9, 1, 255));
  bad({"explain", kModel, kPicture, "-o", "p", "--mask", "small.png"}, 3,
      "small.png: the mask has 9x9 pixels but its picture 256x256");
}

TEST_F(Cli, ReportStandsAlone) {
  good({"explain", kModel, kPicture, "-o", "o", "--report", "-m", "grad-cam,gradient", "--colormap", "viridis"});
  const std::string html = file_text(folder.file("o/report.html"));
  EXPECT_THAT(html, HasSubstr("petals-yellow"));
  EXPECT_THAT(html, HasSubstr("data:image/png;base64,"));
  for (const char* forbidden : {"<script", "http://", "https://", "<link", "<iframe", "javascript:"}) {
    EXPECT_THAT(html, Not(HasSubstr(forbidden)));
  }
}

TEST_F(Cli, EveryColorMapNamedInTheHelpWorksAndDiffers) {
  folder.write("m.onnx", small_model().bytes());
  picture("p.png", 8);
  const std::string help = good({"explain", "--help"});
  std::set<std::string> pictures;
  for (const ColorMap& map : color_maps()) {
    EXPECT_THAT(help, HasSubstr(map.name));
    good({"explain", "m.onnx", "p.png", "-o", map.name, "--colormap", map.name, "--no-arrays"});
    pictures.insert(file_text(folder.file(std::string(map.name) + "/p.grad-cam.png")));
    for (const std::string& name : names(map.name)) EXPECT_NE(fs::path(name).extension(), ".npy");
  }
  EXPECT_EQ(pictures.size(), color_maps().size());
}

TEST_F(Cli, GrayAndChannelsLastModelsAreExplained) {
  folder.write("gray.onnx", small_model("map", 1).bytes());
  OnnxModel last;
  last.input("x", {-1, 16, 16, 3});
  last.node("Transpose", {"x"}, {"t"}, "t").ints("perm", {0, 3, 1, 2});
  last.floats("w", {2, 3, 1, 1}, {1, 0, 0, 0, 1, 0}).floats("v", {2, 2}, {1, 0, 0, 1});
  last.node("Conv", {"t", "w"}, {"c"}, "conv");
  last.node("Relu", {"c"}, {"map"}, "relu");
  last.node("GlobalAveragePool", {"map"}, {"pool"}, "gap");
  last.node("Flatten", {"pool"}, {"flat"}, "flatten");
  last.node("MatMul", {"flat", "v"}, {"logits"}, "fc");
  last.output("logits");
  folder.write("last.onnx", last.bytes());
  picture("p.png", 16);
  for (const std::string model : {"gray", "last"}) {
    good({"explain", model + ".onnx", "p.png", "-o", model, "-m", "grad-cam,gradient"});
    EXPECT_EQ(read_npy(folder.file(model + "/p.grad-cam.input.npy")).shape, (std::vector<int64_t>{16, 16})) << model;
    EXPECT_EQ(read_npy(folder.file(model + "/p.gradient.input.npy")).shape, (std::vector<int64_t>{16, 16})) << model;
  }
}

// A model that takes pixels as integers: raw ones, and no gradient in front of its Cast.
TEST_F(Cli, ModelsOfIntegerPixelsAreExplained) {
  OnnxModel m;
  m.input("x", {-1, 3, 16, 16}, onnx::TensorProto::UINT8);
  m.node("Cast", {"x"}, {"real"}, "cast").integer("to", onnx::TensorProto::FLOAT);
  m.floats("w", {2, 3, 1, 1}, {1, 0, 0, 0, 1, 0}).floats("v", {2, 2}, {1, 0, 0, 1});
  m.node("Conv", {"real", "w"}, {"c"}, "conv");
  m.node("Relu", {"c"}, {"map"}, "relu");
  m.node("GlobalAveragePool", {"map"}, {"pool"}, "gap");
  m.node("Flatten", {"pool"}, {"flat"}, "flatten");
  m.node("MatMul", {"flat", "v"}, {"logits"}, "fc");
  m.output("logits");
  folder.write("pixels.onnx", m.bytes());
  picture("p.png", 16);
  good({"predict", "pixels.onnx", "p.png"});
  good({"explain", "pixels.onnx", "p.png", "-o", "o", "-m", "eigen-cam,grad-cam,occlusion"});
  bad({"explain", "pixels.onnx", "p.png", "-m", "saliency"}, 4,
      "saliency: the network's input 'x' is not floating point, so no gradient reaches it; class activation maps and "
      "perturbation methods need none");
}

// Channel means of the picture are the two logits of the identity-like model: preprocessing decides them.
TEST_F(Cli, PresetDecidesThePreprocessing) {
  OnnxModel m;
  m.input("x", {-1, 3, 4, 4}).output("logits");
  m.node("GlobalAveragePool", {"x"}, {"pool"}, "gap");
  m.node("Flatten", {"pool"}, {"logits"}, "flatten");
  folder.write("m.onnx", m.bytes());
  save_png(folder.file("white.png"), Image(4, 4, 3, 255));
  const auto logits = [&](const std::string& preset) {
    std::map<int, double> found;
    const json list = good_json({"predict", "m.onnx", "white.png", "--preset", preset});
    for (const json& c : list[0]["classes"]) found[c["index"].get<int>()] = c["logit"].get<double>();
    return found;
  };
  EXPECT_NEAR(logits("imagenet").at(0), (1 - 0.485) / 0.229, 1e-5);
  EXPECT_NEAR(logits("imagenet-tf").at(1), 1, 1e-6);
  EXPECT_NEAR(logits("none").at(2), 255, 1e-4);
}

TEST_F(Cli, DatasetIsCompleteAndDeterministic) {
  for (const std::string output : {"a", "b"}) {
    good({"dataset", "an8flower", "--variant", "double-12c", "--per-class", "1", "--size", "32", "--seed", "3", "-o",
          output});
  }
  EXPECT_EQ(names("a"), (std::set<std::string>{"images", "labels.csv", "masks", "objects.json", "parts"}));
  EXPECT_EQ(file_text(folder.file("a/objects.json")), file_text(folder.file("b/objects.json")));
  const std::string table = file_text(folder.file("a/labels.csv"));
  EXPECT_EQ(table, file_text(folder.file("b/labels.csv")));
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 13);
  for (const std::string sub : {"images", "masks", "parts"}) {
    ASSERT_EQ(names("a/" + sub).size(), 12u);
    for (const std::string& name : names("a/" + sub)) {
      EXPECT_EQ(file_text(folder.file("a/" + sub + "/" + name)), file_text(folder.file("b/" + sub + "/" + name)));
      EXPECT_EQ(decode_mask(folder.file("a/" + sub + "/" + name)).width, 32);
    }
  }
  good({"dataset", "an8flower", "--per-class", "1", "--size", "32", "--seed", "4", "-o", "c"});
  EXPECT_NE(file_text(folder.file("a/images/000000.png")), file_text(folder.file("c/images/000000.png")));
}

// What is written can be read back as a user's own COCO file: the truth about the pictures in annotations.h is that of
// the renderer, and a folder without a part differs from the whole one on that part only.
TEST_F(Cli, DatasetOfPartsCanBeReadBackAndWrittenWithoutOne) {
  good({"dataset", "parts", "--per-class", "1", "--size", "48", "--seed", "5", "-o", "whole"});
  good({"dataset", "parts", "--per-class", "1", "--size", "48", "--seed", "5", "--without", "tail", "-o", "tailless"});
  const Annotations truth = Annotations::open(folder.file("whole/objects.json"));
  EXPECT_EQ(truth.classes().size(), 23u);  // 16 species and 7 parts
  for (const std::string name : {"000000.png", "000011.png"}) {
    const std::vector<Annotation> all = truth.of(folder.file("whole/images/" + name), 48, 48);
    ASSERT_EQ(all.size(), 8u);
    EXPECT_EQ(all[0].label, name == "000000.png" ? "species-01" : "species-12");
    EXPECT_EQ(all[0].mask.pixels, decode_mask(folder.file("whole/masks/" + name)).pixels);
    const Image tail = union_of_masks(all, "tail");
    const Image before = decode_image(folder.file("whole/images/" + name));
    const Image after = decode_image(folder.file("tailless/images/" + name));
    int changed = 0, outside = 0;
    for (int y = 1; y < 47; ++y) {
      for (int x = 1; x < 47; ++x) {
        if (std::equal(before.at(x, y), before.at(x, y) + 3, after.at(x, y))) continue;
        ++changed;
        bool near = false;
        for (int j = -1; j <= 1; ++j)
          for (int i = -1; i <= 1; ++i) near = near || *tail.at(x + i, y + j) > 0;
        outside += near ? 0 : 1;
      }
    }
    EXPECT_GT(changed, 10) << name;
    EXPECT_LE(outside, changed / 20) << name;  // pixels that the tail covers by less than half
  }
  good({"dataset", "shortcut", "--per-class", "1", "--size", "48", "-o", "own"});
  good({"dataset", "shortcut", "--per-class", "1", "--size", "48", "--swap-watermark", "-o", "swapped"});
  EXPECT_EQ(file_text(folder.file("own/labels.csv")), file_text(folder.file("swapped/labels.csv")));
  EXPECT_NE(file_text(folder.file("own/images/000000.png")), file_text(folder.file("swapped/images/000000.png")));
}

Words tiny_training(const std::string& epochs) {
  return {"train",   "--epochs",
          epochs,    "--pictures-per-class",
          "4",       "--test-per-class",
          "1",       "--batch-size",
          "8",       "--size",
          "32",      "--widths",
          "4,8",     "-o",
          "net.onnx"};
}

TEST_F(Cli, TrainingWritesAModelThatLoadsAgain) {
  const json trained = good_json(tiny_training("1"));
  EXPECT_EQ(trained["epochs"].size(), 1u);
  EXPECT_EQ(trained["test_pictures"], 6);
  EXPECT_EQ(names("."), (std::set<std::string>{"net.json", "net.onnx"}));
  EXPECT_EQ(good_json({"predict", "net.onnx", kPicture})[0]["classes"].size(), 5u);
  const ProgramResult checked =
      run_program("/usr/bin/python3", {"-c",
                                       "import sys\ntry:\n import onnx\nexcept ImportError:\n sys.exit(77)\n"
                                       "onnx.checker.check_model(onnx.load(sys.argv[1]), full_check=True)",
                                       folder.file("net.onnx")});
  if (checked.status == 77 || checked.status == 127) GTEST_SKIP() << "no python3 with onnx: the checker was not asked";
  EXPECT_EQ(checked.status, 0) << checked.err;
}

// Twelve pictures learned by heart with permuted labels; and the controls that a planted shortcut asks for.
TEST_F(Cli, TrainingTakesAnySetAndPermutedLabels) {
  Words arguments = tiny_training("40");
  arguments.insert(arguments.end(), {"--shuffle-labels", "--weight-decay", "0"});
  const json shuffled = good_json(arguments);
  EXPECT_GE(shuffled["train_accuracy"].get<double>(), 0.7);
  EXPECT_FALSE(shuffled.contains("controls"));
  arguments = tiny_training("1");
  arguments.insert(arguments.end(), {"--data", "shortcut"});
  const json planted = good_json(arguments);
  EXPECT_FALSE(planted.contains("train_accuracy"));
  for (const char* what :
       {"without the watermark", "with the watermark of another class", "answers that follow that watermark"}) {
    EXPECT_TRUE(planted["controls"].contains(what)) << planted.dump();
  }
  for (const std::string set : {"parts", "scenes"}) {
    arguments = tiny_training("1");
    arguments.insert(arguments.end(), {"--data", set});
    EXPECT_EQ(good_json(arguments)["test_pictures"], set == "parts" ? 16 : 6);
  }
  arguments = tiny_training("1");
  arguments.insert(arguments.end(), {"--data", "flowers"});
  bad(arguments, 2,
      "no data set 'flowers'; the generated sets are an8flower-single, an8flower-double, parts, scenes, shortcut, "
      "textures");
}

TEST_F(Cli, KilledTrainingGoesOnFromItsCheckpoint) {
  ProgramOptions options;
  options.watch = [&](pid_t child) {
    if (!fs::exists(folder.file("net.onnx.checkpoint"))) return true;
    ::kill(child, SIGKILL);
    return false;
  };
  EXPECT_EQ(run(tiny_training("60"), options).signal, SIGKILL);
  EXPECT_FALSE(fs::exists(folder.file("net.onnx")));
  Words arguments = tiny_training("60");
  const json resumed = good_json(arguments);
  EXPECT_GE(resumed["resumed_after"], 1);
  EXPECT_EQ(resumed["epochs"].size() + resumed["resumed_after"].get<size_t>(), 60u);
  const std::string killed = file_text(folder.file("net.onnx"));
  fs::remove(folder.file("net.onnx"));
  good(arguments);
  EXPECT_EQ(killed, file_text(folder.file("net.onnx"))) << "a resumed run must end where an unbroken one does";
}

int64_t peak_kilobytes(pid_t process) {
  std::istringstream text(file_text("/proc/" + std::to_string(process) + "/status"));
  for (std::string line; std::getline(text, line);) {
    if (line.rfind("VmHWM:", 0) == 0) return std::stoll(line.substr(6));
  }
  return 0;
}

TEST_F(Cli, MemoryStaysFlatOverManyPictures) {
  constexpr int kCount = 300;
  for (int i = 0; i < kCount; ++i) picture("in/" + std::to_string(i) + ".png", 48, i);
  fs::create_directory(folder.file("o"));
  int64_t early = 0, late = 0;
  ProgramOptions options;
  options.limit_seconds = 300;
  options.watch = [&](pid_t child) {
    const int64_t peak = peak_kilobytes(child);
    if (peak > 0) late = peak;
    if (early == 0 && names("o").size() >= 50 * 4) early = peak;
    return true;
  };
  good({"explain", kModel, "in", "-o", "o", "--quiet"}, options);
  EXPECT_EQ(result("o")["pictures"].size(), static_cast<size_t>(kCount));
  ASSERT_GT(early, 0);
  EXPECT_LT(late - early, 20 * 1024) << "kB more between the 50th picture and the last; " << early << " kB before";
}

}  // namespace
}  // namespace pellucid::test
